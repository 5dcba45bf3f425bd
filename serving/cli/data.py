"""`choreo data`: looking into data sets."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from choreo.errors import InvalidInput
from choreo.motion.upright import AUTO, UP_HELP
from serving.cli.extras import require
from serving.cli.output import Json, print_document

app = typer.Typer(name="data", help="Describe and check data sets.", no_args_is_help=True)


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


@app.command()
def describe(
    folder: Annotated[Path, typer.Argument(help="Data set, in any known layout.")],
    report: Annotated[Path, typer.Option(help="Folder for report.md, description.json and plots.")],
    up: Annotated[str, typer.Option(help=UP_HELP)] = AUTO,
    trim_seconds: Annotated[
        float, typer.Option(help="Length of a sequence in the trimming that is tried, 0.5 to 600.")
    ] = 10.0,
    trim_speed: Annotated[
        float, typer.Option(help="m/s that no joint may exceed in the trimming that is tried, 0.1 to 100.")
    ] = 5.0,
    as_json: Json = False,
) -> None:
    """Say what a data set has: lengths, motions, speeds, balance, terms, split, music, and what trimming removes."""
    require("train")  # for the plots
    from choreo.data.analysis.description import describe as described
    from choreo.data.analysis.report import summary, write_report
    from choreo.data.analysis.trimming import trim_rules
    from choreo.data.datasets import open_dataset

    if report.exists() and not report.is_dir():
        raise InvalidInput("report", f"{report} is not a folder; name one, or one that is to be made")
    rules = trim_rules(trim_seconds, trim_speed)
    description = described(
        open_dataset(folder, up=up),
        rules,
        lambda done, total, key: print(f"{done + 1}/{total} {key}", file=sys.stderr),
    )
    files = [str(path) for path in write_report(description, report)]
    print_document(
        description | {"files": files} if as_json else {"data": summary(description), "files": files}, as_json
    )
