"""The whole way from results of pose estimation to takes of a data set, and the account of what was done."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from choreo.data.poses.identities import identify
from choreo.data.poses.repair import Repaired, constant_bones, repaired, stretches
from choreo.data.poses.results import Detections, read_results
from choreo.data.poses.tracklets import place_weights, tracklets, without_doubles
from choreo.data.poses.world import grounded, metres_per_unit, upright
from choreo.errors import InvalidInput
from choreo.motion.clip import Motion, check_fps
from choreo.motion.performance import Performance
from choreo.motion.resample import resample
from choreo.motion.rigid_fit import fit_rotations
from choreo.motion.skeleton import FPS
from choreo.motion.upright import AUTO, check_up

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

MIN_SECONDS: Final = 0.5
"""Shorter takes are dropped."""
SCALES: Final = (1e-6, 1e3)
"""Bounds of metres per unit."""


@dataclass(frozen=True)
class ImportOptions:
    """How to read results.

    Attributes:
        people: dancers, 1 or 2.
        fps: images per second of the video; the results do not say.
        up: axis that points up, see `choreo.motion.upright.find_up`.
        metres_per_unit: None to tell it from the dancers' legs.

    Raises:
        InvalidInput: a value is out of range.
    """

    people: int = 2
    fps: float = FPS
    up: str = AUTO
    metres_per_unit: float | None = None

    def __post_init__(self) -> None:
        if self.people not in (1, 2):
            raise InvalidInput("people", f"must be 1 or 2, got {self.people}")
        check_fps(self.fps)
        check_up(self.up)
        scale = self.metres_per_unit
        if scale is not None and not SCALES[0] <= scale <= SCALES[1]:
            raise InvalidInput("metres_per_unit", f"must be from {SCALES[0]:g} to {SCALES[1]:g}, got {scale:g}")


@dataclass(frozen=True)
class Imported:
    """Takes and what was done to them.

    Attributes:
        takes: by suffix of the name, empty where there is only one; at 30 fps, y up, metres, one frame for all
            dancers, each on the own skeleton with bones of constant length.
        seconds: a row for each second of the video.
        document: totals, notes and `seconds`, JSON-serialisable.
    """

    takes: dict[str, Performance]
    seconds: list[dict[str, Any]] = field(default_factory=list)
    document: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Tracks:
    """Who is where: detections in metres, y up, and the detection of each dancer in each frame (people, T)."""

    detections: Detections
    owned: Indices
    facts: dict[str, Any]

    def positions(self) -> Array:
        """(people, T, 22, 3), NaN where a dancer is not seen."""
        out = np.full((*self.owned.shape, *self.detections.joints.shape[1:]), np.nan)
        out[self.owned >= 0] = self.detections.joints[self.owned[self.owned >= 0]]
        return out


def track(found: Detections, options: ImportOptions) -> Tracks:
    """Bring detections into metres with y up and follow the dancers.

    Raises:
        InvalidInput: no legs, or never `options.people` persons at the same time.
    """
    scale = options.metres_per_unit or metres_per_unit(found.joints)
    joints, tilt, note = upright(found.joints * scale, options.up)
    world = Detections(found.frames, joints, found.ids, found.scores, (*found.notes, *([note] if note else [])))
    kept, doubles = without_doubles(world)
    weights = place_weights(kept)
    owned = identify(kept, tracklets(kept, weights), options.people, options.fps, weights)
    facts = {
        "persons": len(found),
        "most_in_one_frame": int(np.unique(found.frames, return_counts=True)[1].max()),
        "found_twice": doubles,
        "bystanders": len(kept) - int((owned >= 0).sum()),
        "metres_per_unit": round(float(scale), 6),
        "camera_lean_degrees": round(tilt, 1),
    }
    return Tracks(kept, owned, facts)


def import_results(path: Path, options: ImportOptions | None = None) -> Imported:
    """Read results and make takes of them.

    Raises:
        InvalidInput: see `results.read_results` and `track`; or no stretch is long enough.
    """
    options = options or ImportOptions()
    tracks = track(read_results(path), options)
    seen = tracks.owned >= 0
    spans = [(a, b) for a, b in stretches(seen, options.fps) if b - a >= max(MIN_SECONDS * options.fps, 4)]
    if not spans:
        who = "both dancers" if options.people == 2 else "the dancer"
        raise InvalidInput("results", f"never shows {who} for {MIN_SECONDS} s without a gap of over a second")
    given = tracks.positions()
    takes, repairs = {}, []
    residuals = []
    for number, (start, end) in enumerate(spans):
        both = [repaired(dancer[start:end], options.fps) for dancer in given]
        repairs.append((start, both))
        motions = [
            constant_bones(slow, np.ones(len(slow), bool))
            for slow in (resample(one.positions, options.fps, FPS) for one in both)
        ]
        dancers = grounded(motions)
        residuals += [fit_rotations(dancer).residual for dancer in dancers]
        name = f"_s{number}" if len(spans) > 1 else ""
        takes[name] = Performance(tuple(Motion(dancer.astype(np.float32)) for dancer in dancers))
    rows = per_second(tracks, repairs, options.fps)
    return Imported(takes, rows, _document(tracks, takes, rows, float(np.mean(residuals)), options))


def per_second(tracks: Tracks, repairs: list[tuple[int, list[Repaired]]], fps: float) -> list[dict[str, Any]]:
    """What there was and what was done in each second of the video."""
    owned = tracks.owned
    people, frames = owned.shape
    kept, filled, spikes = np.zeros(frames, bool), np.zeros((people, frames), bool), np.zeros(frames)
    moved = np.full((people, frames), np.nan)
    for start, both in repairs:
        for dancer, one in enumerate(both):
            span = slice(start, start + len(one.positions))
            kept[span] = True
            filled[dancer, span] = one.filled
            spikes[span] += one.spikes
            moved[dancer, span] = np.where(one.filled, np.nan, one.moved)
    changes = _number_changes(tracks)
    seen = (owned >= 0).sum(axis=0)
    rows = []
    for second in range(int(np.ceil(frames / fps))):
        at = slice(round(second * fps), max(round((second + 1) * fps), round(second * fps) + 1))
        distances = moved[:, at]
        rows.append(
            {
                "second": second,
                "frames": len(seen[at]),
                "with_all": int((seen[at] == people).sum()),
                "with_one": int((seen[at] == 1).sum()) if people > 1 else 0,
                "with_none": int((seen[at] == 0).sum()),
                "number_changes": int(changes[at].sum()),
                "filled": [int(n) for n in filled[:, at].sum(axis=1)],
                "spikes": int(spikes[at].sum()),
                "smoothed_mm": round(float(np.nanmean(distances)) * 1000, 1) if np.isfinite(distances).any() else 0.0,
                "kept": int(kept[at].sum()),
            }
        )
    return rows


def _number_changes(tracks: Tracks) -> Indices:
    """How many dancers (T,) have another of the tracker's numbers than when they were last seen."""
    out = np.zeros(tracks.owned.shape[1], np.int64)
    for owned in tracks.owned:
        there = np.flatnonzero(owned >= 0)
        numbers = tracks.detections.ids[owned[there]]
        out[there[1:]] += numbers[1:] != numbers[:-1]
    return out


def _document(
    tracks: Tracks, takes: dict[str, Performance], rows: list[dict[str, Any]], residual: float, options: ImportOptions
) -> dict[str, Any]:
    totals = {name: sum(row[name] for row in rows) for name in ("with_all", "with_one", "with_none", "number_changes")}
    return {
        "people": options.people,
        "video_fps": options.fps,
        "video_seconds": round(tracks.owned.shape[1] / options.fps, 2),
        "kept_seconds": round(sum(take.seconds for take in takes.values()), 2),
        "takes": len(takes),
        **tracks.facts,
        **totals,
        "filled": [sum(row["filled"][k] for row in rows) for k in range(options.people)],
        "spikes": sum(row["spikes"] for row in rows),
        "smoothed_mm": round(float(np.mean([row["smoothed_mm"] for row in rows])), 1),
        "rigid_fit_residual_mm": round(residual * 1000, 1),
        "notes": list(tracks.detections.notes),
        "seconds": rows,
    }
