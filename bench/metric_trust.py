"""How far the metrics of sets can be trusted: random draws of real training motion, scored against the rest of it.

Each draw divides the recordings at random, so that no recording is on both sides; sets of every size are windows drawn
from the one side, and the other side, the same for all sizes, is their reference. Both are real, so what a distance
shows beyond 0 is the bias of so many motions and what recordings differ in; how it differs between draws is the spread
that two equally good generators may show.
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import typer
from numpy.typing import NDArray

from bench.command import DATA, benchmark, quick
from bench.report import Row, skipped
from choreo.command_line import say
from choreo.data.clip import Clip
from choreo.errors import InvalidInput
from choreo.evaluation.figures import of_dance_features, of_embeddings
from choreo.evaluation.motions import Motions
from choreo.evaluation.text_motion import TextMotionEncoder
from choreo.training.splits import read_splits
from serving.evaluation.stretches import Positions, windows
from serving.evaluation.subjects import unit
from serving.settings import Settings

SIZES: Final = (64, 128, 320, 640)
LARGEST_SHARE: Final = 0.75
"""Share of all windows that a set may have, so that enough of them are left to score it against."""

Rows = NDArray[np.int64]


@benchmark
def main(
    data: Annotated[Path, DATA],
    draws: Annotated[int, typer.Option(min=2, max=100, help="Divisions of the recordings.")] = 8,
    short: Annotated[bool, quick("two draws of the smallest size")] = False,
) -> Iterator[Row]:
    """Mean and standard deviation over draws of each metric, by size."""
    groups, found = recordings(read_splits(data).training)
    sizes = [size for size in (SIZES[:1] if short else SIZES) if size <= LARGEST_SHARE * len(found)]
    if not sizes:
        needed = int(np.ceil(SIZES[0] / LARGEST_SHARE))
        raise InvalidInput("data", f"{data} has {len(found)} windows of training motion, and {needed} are needed")
    for size in () if short else SIZES[len(sizes) :]:
        yield skipped(f"sets of {size}", f"there are {len(found)} windows, which would leave too few to score against")
    text_motion = Settings().text_motion
    embedded = unit(TextMotionEncoder.load(text_motion).motions(found)) if text_motion.is_dir() else None
    if embedded is None:
        yield skipped("embeddings", "there is no text-motion encoder")
    rng, scores, left = np.random.default_rng(0), dict[tuple[int, str], list[float]](), list[int]()
    for number in range(2 if short else draws):
        say(f"draw {number + 1}")
        side, rest = divided(groups, sizes[-1], rng)
        left.append(len(rest))
        reference = _motions("rest", rest, found, embedded)
        for size in sizes:
            drawn = _motions("drawn", rng.permutation(side)[:size], found, embedded)
            for name, figure in (*of_dance_features(drawn, reference), *of_embeddings(drawn, reference)):
                scores.setdefault((size, name), []).append(figure.value)
    yield Row("reference", "windows", float(np.mean(left)), "")
    for (size, name), values in scores.items():
        yield Row(f"{name} {size}", "mean", float(np.mean(values)), "")
        yield Row(f"{name} {size}", "spread", float(np.std(values, ddof=1)), "")


def recordings(clips: Sequence[Clip]) -> tuple[list[str], list[Positions]]:
    """All windows of the clips, one after another: the recording that each is of, and its positions (196, 22, 3)."""
    names: list[str] = []
    found: list[Positions] = []
    for clip in clips:
        parts = [stretch.positions for stretch in windows([clip])]
        names += [clip.group] * len(parts)
        found += parts
    return names, found


def divided(groups: Sequence[str], least: int, rng: np.random.Generator) -> tuple[Rows, Rows]:
    """Rows of two sides that share no recording: random recordings until there are `least` windows, and the others.

    Args:
        groups: recording of each window.
        least: fewest windows of the first side.
        rng: chooses.

    Raises:
        InvalidInput: the recordings are too few or too long, so that nothing would be left.
    """
    names = np.asarray(groups)
    known, counts = np.unique(names, return_counts=True)
    order = rng.permutation(len(known))
    taken = int(np.searchsorted(np.cumsum(counts[order]), least)) + 1
    if taken >= len(known):
        raise InvalidInput("data", f"{len(known)} recordings cannot be divided with {least} windows on one side")
    on_side = np.isin(names, known[order[:taken]])
    return np.flatnonzero(on_side), np.flatnonzero(~on_side)


def _motions(name: str, rows: Rows, positions: Sequence[Positions], embedded: NDArray[np.float32] | None) -> Motions:
    vectors = None if embedded is None else embedded[rows]
    return Motions(name, [positions[row] for row in rows], motion_embeddings=vectors)


if __name__ == "__main__":
    sys.exit(main())
