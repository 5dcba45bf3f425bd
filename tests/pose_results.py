"""Results of pose estimation made from known dances, whole and damaged in the ways of real ones, and measures of what
the import makes of them."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from choreo.data.layouts.couples import Couples
from choreo.data.poses.importing import ImportOptions, track
from choreo.data.poses.repair import repaired, stretches
from choreo.data.poses.results import Detections
from choreo.data.synthetic.step_dances.dancing import dance_steps

Array = NDArray[np.float64]

DAMAGE = ("missing", "one person", "swapped", "jitter")
JITTER = 0.02
"""Standard deviation of each coordinate's noise, metres."""


class Damaged(NamedTuple):
    """Frames of persons: joints (2, T, 22, 3), seen (2, T), the tracker's numbers (2, T)."""

    joints: Array
    seen: NDArray[np.bool_]
    numbers: NDArray[np.int64]


def damaged(truth: Array, kinds: Sequence[str], seed: int = 0, fps: float = 30) -> Damaged:
    """Damage a couple (2, T, 22, 3), metres, in the given ways."""
    rng = np.random.default_rng(seed)
    joints, frames = truth.copy(), truth.shape[1]
    seen, numbers = np.ones((2, frames), bool), np.ones((2, frames), np.int64) * np.array([[1], [2]])
    gaps = max(round(frames / fps / 2), 1)
    spans = _spans(rng, frames, gaps, fps) if {"missing", "one person"} & set(kinds) else []
    for number, (start, length) in enumerate(spans):
        kind = DAMAGE[number % 2]
        if kind in kinds:
            seen[slice(None) if kind == DAMAGE[0] else rng.integers(2), start : start + length] = False
    if "swapped" in kinds:
        for start in rng.integers(1, frames, gaps):
            numbers[:, start:] = numbers[::-1, start:]
    if "jitter" in kinds:
        joints += rng.normal(size=joints.shape) * JITTER
        spikes = rng.random(joints.shape[:3]) < 0.002
        joints[spikes] += rng.normal(size=(int(spikes.sum()), 3)) * 0.4
    return Damaged(joints, seen, numbers)


def _spans(rng: np.random.Generator, frames: int, count: int, fps: float) -> list[tuple[int, int]]:
    """Starts and lengths of gaps of two frames to a second, at least a third of a second apart and from the ends."""
    out, at = [], 0
    room = (frames - 10) // count
    for number in range(count):
        length = int(rng.integers(2, min(round(fps), room - 10) + 1))
        at = 5 + number * room + int(rng.integers(0, room - 10 - length + 1))
        out.append((at, length))
    return out


def detections(given: Damaged) -> tuple[Detections, NDArray[np.int64]]:
    """The damaged couple as it is read, with y down as in a camera, and the true dancer of each person (N,)."""
    rows = [(t, k) for t in range(given.seen.shape[1]) for k in np.flatnonzero(given.seen[:, t])]
    at, who = np.array(rows).T
    joints = given.joints[who, at] * (-1, -1, 1)
    numbers = given.numbers[who, at]
    order = np.lexsort((numbers, at))
    found = Detections(at[order].astype(np.int64), joints[order], numbers[order], np.ones(len(at)))
    return found, who[order]


def people(given: Damaged, first: int = 0) -> list[dict[str, Any]]:
    """The damaged couple as a list of AlphaPose's objects, joints in HybrIK's unit of 2.2 m."""
    found, _ = detections(given)
    out = []
    for frame, joints, number in zip(found.frames, found.joints, found.ids, strict=True):
        whole = np.concatenate([joints, np.repeat(joints[[15]], 7, axis=0)]) / 2.2
        out.append(
            {
                "image_id": f"{frame + first}.jpg",
                "category_id": 1,
                "keypoints": [0.0] * 87,
                "score": 2.5,
                "box": [10.0, 20.0, 100.0, 300.0],
                "idx": int(number),
                "pred_xyz_jts": whole.round(5).tolist(),
            }
        )
    return out


def write_results(path: Path, persons: object) -> Path:
    """Write a results file."""
    path.write_text(json.dumps(persons))
    return path


class Measured(NamedTuple):
    """Share of persons given to the right dancer, mean joint errors in metres, and the share of frames in takes."""

    right: float
    without: float
    repaired: float
    in_gaps: float
    gaps_without: float
    kept: float


def measured(truth: Array, kinds: Sequence[str], seed: int = 0) -> Measured:
    """Damage a couple, import it and compare. Without repair, the tracker's numbers are the dancers and a dancer who is
    not seen stays where they were."""
    given = damaged(truth, kinds, seed)
    found, who = detections(given)
    tracks = track(found, ImportOptions(up="-y", metres_per_unit=1.0))
    assert len(tracks.detections) == len(found)
    owned = [row[row >= 0] for row in tracks.owned]
    straight = sum(int((who[row] == k).sum()) for k, row in enumerate(owned))
    crossed = sum(int((who[row] != k).sum()) for k, row in enumerate(owned))
    order = [0, 1] if straight >= crossed else [1, 0]
    positions = tracks.positions()[order]
    errors = np.full(given.seen.shape, np.nan)
    for start, end in stretches(np.isfinite(positions).all(axis=(2, 3)), 30):
        for k in range(2):
            after = repaired(positions[k, start:end], 30).positions
            errors[k, start:end] = np.linalg.norm(after - truth[k, start:end], axis=-1).mean(axis=-1)
    before = np.linalg.norm(_as_numbered(given) - truth, axis=-1).mean(axis=-1)
    kept, gaps = np.isfinite(errors), ~given.seen & np.isfinite(errors)
    return Measured(
        max(straight, crossed) / len(found),
        float(before[kept].mean()),
        float(errors[kept].mean()),
        float(errors[gaps].mean()) if gaps.any() else float("nan"),
        float(before[gaps].mean()) if gaps.any() else float("nan"),
        float(kept.mean()),
    )


def _as_numbered(given: Damaged) -> Array:
    """(2, T, 22, 3): what one gets who believes the tracker's numbers and holds the last pose."""
    out = np.empty_like(given.joints)
    held = given.joints[:, 0].copy()
    for t in range(out.shape[1]):
        for k in np.flatnonzero(given.seen[:, t]):
            held[given.numbers[k, t] - 1] = given.joints[k, t]
        out[:, t] = held
    return out


def synthetic_couple(seconds: float = 12.0, seed: int = 0) -> Array:
    """Two who dance a rumba of their own around one another, (2, T, 22, 3) metres; the second is smaller."""
    lead, follow = (
        dance_steps("rumba", 104.0, seconds, s).motion.positions.astype(np.float64) for s in (seed, seed + 100)
    )
    follow = 0.93 * follow
    angle = np.linspace(0, 2 * np.pi, len(lead))
    around = 0.45 * np.stack([np.sin(angle), np.zeros_like(angle), np.cos(angle)], axis=1)[:, None]
    place = lead[:, [0]].mean(axis=0) * (1, 0, 1)
    return np.stack([lead - place + around, follow - place - around])


def main() -> None:
    """Print the table of docs/poses_from_video.md from the couples of a folder."""
    couples = Couples(Path(sys.argv[1]))
    for ways in (*((way,) for way in DAMAGE), DAMAGE):
        rows = np.array(
            [measured(couples.couple(t).positions.astype(np.float64), ways, i) for i, t in enumerate(couples.takes)]
        )
        mean = rows.mean(axis=0)
        millimetres = " | ".join(f"{1000 * value:.1f}" for value in mean[1:5])
        print(f"| {', '.join(ways)} | {mean[0]:.2%} ({rows[:, 0].min():.2%}) | {millimetres} | {mean[5]:.1%} |")


if __name__ == "__main__":
    main()
