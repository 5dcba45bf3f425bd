"""The check that a split must pass: no song or take on two sides, and no stretch of training motion in a held-out clip.

    python -m choreo.data.check_split FOLDER

prints what it finds as JSON and ends with 1 where a group is shared; near-identical stretches are reported, not judged.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from choreo.data.clip import Clip
from choreo.data.datasets import open_dataset
from choreo.data.splits.leaks import LeakReport, find_leaks
from choreo.data.splits.split import Split, shared_groups
from choreo.errors import ChoreoError

LISTED = 20
"""Leaks that are printed of each side."""


@dataclass(frozen=True)
class SplitCheck:
    """Groups on several sides, with those sides, and what each held-out side shares with the training side."""

    shared: Mapping[str, tuple[str, ...]]
    leaks: Mapping[str, LeakReport]


def check_split(split: Split, clips: Sequence[Clip], training: str = "train") -> SplitCheck:
    """Compare every other side with the training side.

    Args:
        split: sides by the keys of the clips; clips on no side are not looked at.
        clips: of the data set.
        training: name of the training side.
    """
    by_key = {clip.key: clip for clip in clips}
    sides = {side: [by_key[key] for key in keys if key in by_key] for side, keys in split.sides.items()}
    return SplitCheck(
        shared_groups(split, {clip.key: clip.group for clip in clips}),
        {side: find_leaks(held, sides[training]) for side, held in sides.items() if side != training},
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


def main(argv: Sequence[str] | None = None) -> int:
    """Check the split of a data set."""
    parser = argparse.ArgumentParser(prog="python -m choreo.data.check_split", description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args(argv)
    try:
        dataset = open_dataset(arguments.folder)
        split = dataset.split()
        clips = list(dataset.clips(progress=_progress))
    except ChoreoError as error:
        print(error, file=sys.stderr)
        return 2
    check = check_split(split, clips)
    document = {
        "layout": dataset.name,
        "split": split.origin,
        "shared_groups": dict(check.shared),
        "skipped": [asdict(skipped) for skipped in dataset.skipped],
        "leaks": {
            side: {
                "total": report.total,
                "families": family_shares(report, clips),
                "stretches": len(report.leaks),
                "longest": [asdict(leak) for leak in report.leaks[:LISTED]],
            }
            for side, report in check.leaks.items()
        },
    }
    print(json.dumps(document, indent=2))
    return 1 if check.shared else 0


def _progress(done: int, total: int, key: str) -> None:
    print(f"{done + 1}/{total} {key}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
