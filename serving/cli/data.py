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


@app.command("import-poses")
def import_poses(
    results: Annotated[Path, typer.Argument(help="alphapose-results.json of a HybrIK model, or its folder.")],
    out: Annotated[Path, typer.Option(help="Folder of the data set; it is made, or added to.")],
    name: Annotated[str, typer.Option(help="Name of the take and its files.")] = "poses",
    people: Annotated[int, typer.Option(help="Dancers, 1 or 2.")] = 2,
    fps: Annotated[float, typer.Option(help="Images per second of the video.")] = 30.0,
    up: Annotated[str, typer.Option(help=UP_HELP)] = AUTO,
    metres_per_unit: Annotated[
        float | None, typer.Option(help="Metres per unit of the results; by default told from the dancers' legs.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make dances of two people (or one) from pose estimation on a video: tracks, repairs, one frame, a report."""
    from choreo.data.poses.importing import ImportOptions, import_results
    from choreo.data.poses.report import summary
    from choreo.data.poses.writing import check_name, write_import

    check_name(name)
    imported = import_results(results, ImportOptions(people, fps, up, metres_per_unit))
    files = [str(path) for path in write_import(imported, out, name)]
    document = imported.document
    short = {"data": summary(document), "notes": document["notes"], "files": files}
    print_document(document | {"files": files} if as_json else short, as_json)
