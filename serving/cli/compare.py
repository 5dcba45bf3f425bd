"""The command `choreo compare`; `serving.cli.comparison` does its work."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from choreo.music.limits import FORMATS
from serving.cli.extras import require
from serving.cli.output import Json, print_document
from serving.settings import Settings


def compare(
    songs: Annotated[list[Path], typer.Argument(metavar="SONG...", help=f"Songs, up to 20: {FORMATS}.")],
    checkpoint: Annotated[
        list[str], typer.Option(help="Checkpoint folder, or name of a shipped one; given twice, for A and for B.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the films, contact sheets and compare.json.")],
    text: Annotated[str | None, typer.Option(help="What to dance, in words.")] = None,
    duration: Annotated[float, typer.Option(help="Seconds of each dance.")] = 10.0,
    preset: Annotated[str, typer.Option(help="reference, fast or draft.")] = "reference",
    seed: Annotated[int, typer.Option(help="Of all dances.")] = 0,
    as_json: Json = False,
) -> None:
    """Film the same songs danced by two checkpoints side by side, with sound and a contact sheet of each."""
    require("cpu")
    from serving.cli.comparison import compared

    fields = {"text_prompt": text, "duration": duration, "preset": preset, "seed": seed}
    given = {name: value for name, value in fields.items() if value is not None}
    document = compared(songs, checkpoint, given, out, Settings(), Console(stderr=True))
    print_document(document if as_json else {"files": document["files"]} | document["checkpoints"], as_json)
