"""Check of a data set's split: no song or take in two parts, and how much of the held-out motion training repeats.

    python -m choreo.data.check_split FOLDER

prints the report as JSON and exits with 1 if a group is shared; near-identical stretches are reported, not judged.
`choreo data check-split` is the same check.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from choreo.data.clip import Clip
from choreo.data.datasets import open_dataset
from choreo.data.splits.leaks import LeakReport, find_leaks
from choreo.data.splits.split import Split, shared_groups
from choreo.errors import ChoreoError

MAX_LISTED: Final = 20
"""Leaks of each part in a report."""


@dataclass(frozen=True)
class SplitCheck:
    """Result of `check_split`.

    Attributes:
        shared: groups in several parts, with those parts.
        leaks: what each held-out part shares with the training part.
    """

    shared: Mapping[str, tuple[str, ...]]
    leaks: Mapping[str, LeakReport]


def check_split(split: Split, clips: Sequence[Clip], training: str = "train") -> SplitCheck:
    """Compare every other part of a split with the training part.

    Args:
        split: by the keys of the clips; clips in no part are ignored.
        clips: of the data set.
        training: name of the training part.
    """
    by_key = {clip.key: clip for clip in clips}
    parts = {part: [by_key[key] for key in keys if key in by_key] for part, keys in split.parts.items()}
    return SplitCheck(
        shared_groups(split, {clip.key: clip.group for clip in clips}),
        {part: find_leaks(held_out, parts[training]) for part, held_out in parts.items() if part != training},
    )


def family_shares(report: LeakReport, clips: Sequence[Clip]) -> dict[str, float]:
    """Fraction of held-out frames that leak, by family."""
    frames: dict[str, float] = {}
    leaked: dict[str, float] = {}
    for clip in clips:
        if clip.key in report.share:
            frames[clip.family] = frames.get(clip.family, 0) + clip.num_frames
            leaked[clip.family] = leaked.get(clip.family, 0) + clip.num_frames * report.share[clip.key]
    return {family: leaked[family] / frames[family] for family in sorted(frames)}


def report(folder: Path) -> dict[str, Any]:
    """Check the split of the data set in a folder, with progress on stderr; a JSON-serialisable document.

    Raises:
        InvalidInput: not a data set, or a part of its split is empty.
    """
    dataset = open_dataset(folder)
    split = dataset.split()
    clips = list(dataset.clips(progress=lambda done, total, key: print(f"{done + 1}/{total} {key}", file=sys.stderr)))
    check = check_split(split, clips)
    return {
        "layout": dataset.name,
        "split": split.origin,
        "shared_groups": dict(check.shared),
        "skipped": [asdict(skipped) for skipped in dataset.skipped],
        "leaks": {
            part: {
                "total": found.total,
                "families": family_shares(found, clips),
                "stretches": len(found.leaks),
                "longest": [asdict(leak) for leak in found.leaks[:MAX_LISTED]],
            }
            for part, found in check.leaks.items()
        },
    }


def main(folder: Annotated[Path, typer.Argument(help="Data set, in any known layout.")]) -> None:
    """Check the split of a data set."""
    try:
        document = report(folder)
    except ChoreoError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(2) from error
    print(json.dumps(document, indent=2))
    raise typer.Exit(1 if document["shared_groups"] else 0)


if __name__ == "__main__":
    typer.run(main)
