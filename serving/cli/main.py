"""The `choreo` command. Results go to standard output, progress and logs to standard error; bad input exits with 2."""

import logging
import os
import sys

import typer
from rich.console import Console
from rich.markup import escape

from choreo.errors import ChoreoError, InvalidInput
from serving.cli.compare import compare
from serving.cli.dance_commands import batch, generate
from serving.cli.data import app as data_app
from serving.cli.doctor_command import doctor
from serving.cli.duet_command import duet
from serving.cli.extras import require
from serving.cli.file_commands import beats, convert, structure, tags
from serving.cli.measuring_commands import bench, evaluate, loadtest
from serving.cli.model_commands import export, train
from serving.cli.models import app as models_app
from serving.cli.phrases import app as phrases_app
from serving.cli.server_commands import demo, serve, studio
from serving.settings import LogSettings
from serving.util import logs
from serving.util.surroundings import prepare

app = typer.Typer(
    name="choreo",
    help="Turn songs and text prompts into 3-D dance motion.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(models_app)
app.add_typer(data_app)
app.add_typer(phrases_app, callback=lambda: require("cpu"))
for command in (
    compare, generate, duet, batch, convert, beats, structure, tags, serve, studio, demo, export, train, evaluate,
):  # fmt: skip
    app.command()(command)
app.command(context_settings={"allow_extra_args": True, "allow_interspersed_args": False})(bench)
app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})(
    loadtest
)
app.command()(doctor)


def main() -> None:
    """Entry point: typed errors become one line and exit code 2 (bad input) or 1 (anything else)."""
    if "train" not in sys.argv[1:2]:
        # Before torch is imported: its idle threads would spin and take the cores from inference.
        # A training has the machine to itself, and a third less time for a step when they do spin.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    logs.configure(logs.LogOptions())
    try:
        wanted = LogSettings()
        command = next((argument for argument in sys.argv[1:] if not argument.startswith("-")), "choreo")
        logs.configure(logs.LogOptions(wanted.log_format == "json", wanted.log_level, command))
        prepare()
        app()
    except (ChoreoError, OSError) as error:
        if not logs.say(f"choreo: {error}", logging.ERROR):
            Console(stderr=True).print(f"[red]choreo:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(2 if isinstance(error, InvalidInput) else 1)


if __name__ == "__main__":
    main()
