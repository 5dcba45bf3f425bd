"""`choreo data`: looking into data sets."""

import json
from pathlib import Path
from typing import Annotated

import typer

from choreo.motion.upright import AUTO, UP_HELP

app = typer.Typer(name="data", help="Check data sets.", no_args_is_help=True)


@app.command("check-split")
def check_split(
    folder: Annotated[Path, typer.Argument(help="Data set, in any known layout.")],
    up: Annotated[str, typer.Option(help=UP_HELP)] = AUTO,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Check that no song or take is in two parts of a split (exit code 1), and list motion that training repeats."""
    from choreo.data.check_split import report

    document = report(folder, up)
    shared = document["shared_groups"]
    if as_json:
        print(json.dumps(document))
    else:
        print(f"{document['layout']}, {document['split']} split: {len(document['skipped'])} skipped")
        for group, parts in shared.items():
            print(f"{group} is in {' and '.join(parts)}")
        for part, found in document["leaks"].items():
            print(f"{part}: {found['total']:.1%} of the frames are near-identical to training motion")
    raise typer.Exit(1 if shared else 0)
