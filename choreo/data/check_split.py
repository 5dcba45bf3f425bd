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
from choreo.data.splits.one_take import piece
from choreo.data.splits.split import Split, shared_groups
from choreo.errors import ChoreoError
from choreo.motion.upright import AUTO, UP_HELP

MAX_LISTED: Final = 20
"""Leaks of each part in a report."""


@dataclass(frozen=True)
class SplitCheck:
    """Result of `check_split`.

    Attributes:
        shared: groups in several parts, with those parts.
        leaks: what each held-out part shares with the training part.
        clips: of each part, the stretches of it where the split is cut in time.
    """

    shared: Mapping[str, tuple[str, ...]]
    leaks: Mapping[str, LeakReport]
    clips: Mapping[str, Sequence[Clip]]


def check_split(split: Split, clips: Sequence[Clip], training: str = "train") -> SplitCheck:
    """Compare every other part of a split with the training part.

    Args:
        split: by the keys of the clips; clips in no part are ignored.
        clips: of the data set.
        training: name of the training part.

    Raises:
        InvalidInput: the data set is one take, and that is too short to be cut.
    """
    by_key = {clip.key: clip for clip in clips}
    parts = {
        part: [piece(split, part, by_key[key]) for key in keys if key in by_key] for part, keys in split.parts.items()
    }
    return SplitCheck(
        shared_groups(split, {clip.key: clip.group for clip in clips}),
        {part: find_leaks(held_out, parts[training]) for part, held_out in parts.items() if part != training},
        parts,
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


def report(folder: Path, up: str = AUTO) -> dict[str, Any]:
    """Check the split of the data set in a folder, with progress on stderr; a JSON-serialisable document.

    Args:
        folder: of the data set.
        up: the axis that points up in its motion, see `choreo.motion.upright.find_up`.

    Raises:
        InvalidInput: not a data set, no such axis, or nothing in it to train on or to validate on.
    """
    dataset = open_dataset(folder, up=up)
    split = dataset.split()
    clips = list(dataset.clips(progress=lambda done, total, key: print(f"{done + 1}/{total} {key}", file=sys.stderr)))
    check = check_split(split, clips)
    return {
        "layout": dataset.name,
        "split": split.origin,
        "shared_groups": dict(check.shared),
        "skipped": [asdict(skipped) for skipped in dataset.skipped],
        "notes": [asdict(note) for note in dataset.notes],
        "leaks": {
            part: {
                "total": found.total,
                "families": family_shares(found, check.clips[part]),
                "stretches": len(found.leaks),
                "longest": [asdict(leak) for leak in found.leaks[:MAX_LISTED]],
            }
            for part, found in check.leaks.items()
        },
    }


def main(
    folder: Annotated[Path, typer.Argument(help="Data set, in any known layout.")],
    up: Annotated[str, typer.Option(help=UP_HELP)] = AUTO,
) -> None:
    """Check the split of a data set."""
    try:
        document = report(folder, up)
    except ChoreoError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(2) from error
    print(json.dumps(document, indent=2))
    raise typer.Exit(1 if document["shared_groups"] else 0)


if __name__ == "__main__":
    typer.run(main)
