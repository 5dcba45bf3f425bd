"""The command line of a benchmark: options that benchmarks share, exit codes, and printing the result."""

import inspect
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Protocol

import typer

from bench.report import Row, show
from choreo.command_line import exit_code, parse
from choreo.errors import InvalidInput

DATA: Final = typer.Option(help="Data set, e.g. ../shared/data.")
CHECKPOINT: Final = typer.Option(help="Checkpoint folder; omitted: the shipped one.")
ROUNDS: Final = typer.Option(min=1, max=1000, help="Rounds; each measures everything once, and values are medians.")
_JSON: Final = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]

Command = Callable[..., tuple[bool, Iterable[Row]]]


class Main(Protocol):
    """The entry point of a benchmark."""

    def __call__(self, argv: Sequence[str] | None = None) -> int:
        """Run it on these arguments, or on those of the process, and return the exit code."""
        ...


def quick(what: str) -> Any:
    """The option `--quick`; `what` says how the short run differs."""
    return typer.Option("--quick", help=f"A short run to see that everything works: {what}.")


def benchmark(measure: Callable[..., Iterable[Row]]) -> Main:
    """Make the `main` of a benchmark module from a generator of rows.

    The generator's annotations define the options, to which `--json` is added; the name is that of the module, and the
    help text is the first line of the module's docstring. A benchmark that fails or is interrupted prints the rows that
    it had, and exits with 1, or with 128 + the signal's number; on bad input it prints none and exits with 2.
    """
    name = Path(measure.__code__.co_filename).stem
    summary = measure.__globals__["__doc__"].partition("\n")[0]

    def command(as_json: bool, **options: Any) -> tuple[bool, Iterable[Row]]:
        return as_json, measure(**options)

    signature = inspect.signature(measure, eval_str=True)
    flag = inspect.Parameter("as_json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=_JSON)
    command.__signature__ = signature.replace(parameters=[*signature.parameters.values(), flag])  # type: ignore[attr-defined]

    def main(argv: Sequence[str] | None = None) -> int:
        if argv is None:
            signal.signal(signal.SIGTERM, _terminate)
        given = sys.argv[1:] if argv is None else list(argv)
        return exit_code(lambda: _run(command, name, summary, given))

    return main


def _run(command: Command, name: str, summary: str, argv: Sequence[str]) -> None:
    as_json, measured = parse(command, argv, f"choreo bench {name}", summary)
    rows: list[Row] = []
    try:
        for row in measured:
            rows.append(row)
    except BaseException as error:
        if rows and not isinstance(error, InvalidInput):
            show(name, argv, rows, as_json)
        raise
    show(name, argv, rows, as_json)


def _terminate(number: int, frame: object) -> None:
    """As an exception, so that processes and folders of the benchmark are cleaned up."""
    raise SystemExit(128 + number)
