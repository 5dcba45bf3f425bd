"""Lands movements on the beats: time is warped so that the moments at which a body nearly stops meet beats.

The motion stays as it is; only when its poses come changes, by at most `MAX_SHIFT_S`, and the rate at which they come
by at most `MAX_RATE`. Lodge++ (Li et al. 2024) snaps key motions to beats in the same spirit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import CubicSpline
from scipy.ndimage import gaussian_filter1d

from choreo.motion.kinematic_beats import kinematic_beats
from choreo.motion.skeleton import FPS

Array = NDArray[np.float64]

MAX_RATE: Final = 0.12
"""Share by which the rate of time may differ from 1."""
MAX_SHIFT_S: Final = 0.12
"""Largest time by which a pose comes earlier or later."""
REACH_S: Final = 1.0
"""Time from a sure beat after which the motion is where it was."""
STEP_S: Final = 1 / 120
"""Grid of the shifts that are tried."""
MATCH_S: Final = 0.05
"""Standard deviation of the reward of a pause near a beat: that of the beat alignment score."""
STAY: Final = 0.2
"""Cost of the largest shift, next to a reward of 1 for a pause on a beat: a shift must be worth something."""
SMOOTHING_S: Final = 1 / 20
"""Standard deviation of the Gaussian that rounds the changes of rate."""
_TRUNCATE: Final = 3.0
_NEVER: Final = -1e9


@dataclass(frozen=True)
class Warp:
    """A change of timing.

    Attributes:
        shift: (T,) frames; frame t of the result is the pose of instant t + shift[t].
        beats: sure beats within the motion.
        fps: frames per second.
    """

    shift: Array
    beats: int
    fps: float = FPS

    @property
    def applied(self) -> bool:
        """Whether it changes anything."""
        return bool(self.shift.any())

    def of(self, positions: NDArray[np.floating]) -> Array:
        """Positions (T, ..., 3) at the new times, by cubic splines; those that stay are copied exactly."""
        frames = np.arange(len(positions), dtype=np.float64)
        out = np.array(positions, np.float64)
        moved = self.shift != 0
        if moved.any():
            out[moved] = CubicSpline(frames, out)((frames + self.shift)[moved])
        return out

    def document(self) -> dict[str, Any]:
        """What a report says of it: milliseconds, and the largest change of rate."""
        shift = np.abs(self.shift) / self.fps
        return {
            "applied": self.applied,
            "beats": self.beats,
            "mean_shift_ms": round(1e3 * float(shift.mean()), 1),
            "max_shift_ms": round(1e3 * float(shift.max(initial=0)), 1),
            "max_rate_change": round(float(np.abs(np.diff(self.shift)).max(initial=0)), 4),
        }


def beat_warp(
    dancers: Sequence[NDArray[np.floating]], beats: ArrayLike, fps: float = FPS, fixed_frames: int = 0
) -> Warp:
    """The warp under which the pauses of dancers meet the beats best; one for all, who stay together.

    Pauses are the minima of the smoothed joint speed, as the beat alignment score defines them. The shift at every
    sure beat is chosen by dynamic programming: it maximises the sum of exp(-d^2 / (2 MATCH_S^2)), d the distance of the
    nearest pause, less what shifts cost, under the limits of shift and rate. Between beats the shift is linear. A
    Gaussian then rounds it, which keeps both limits, because its weights are positive.

    Args:
        dancers: positions (T, 22, 3) of each, metres, of equal length.
        beats: those of the music that are sure, seconds from the first frame. Without any nothing moves.
        fps: frames per second.
        fixed_frames: frames at the beginning that stay where they are; so do the first and the last one.
    """
    positions = np.concatenate([np.asarray(dancer, np.float64) for dancer in dancers], axis=1)
    frames = len(positions)
    margin = (_TRUNCATE * SMOOTHING_S * fps + 1) / fps
    first, last = max(fixed_frames - 1, 0) / fps + margin, (frames - 1) / fps - margin
    sure = np.unique(np.asarray(beats, np.float64).reshape(-1))
    sure = sure[(sure > first) & (sure < last)]
    pauses = kinematic_beats(positions, fps) / fps
    if not len(sure) or not len(pauses):
        return Warp(np.zeros(frames), len(sure), fps)
    times, is_beat = _knots(sure, first, last)
    shifts = _best_shifts(times, is_beat, pauses)
    shift = np.interp(np.arange(frames) / fps, times, shifts) * fps
    return Warp(_rounded(shift, fixed_frames, fps), len(sure), fps)


def _knots(sure: Array, first: float, last: float) -> tuple[Array, NDArray[np.bool_]]:
    """Times at which the shift is chosen, and which of them are beats; it is 0 at the others."""
    gaps = np.flatnonzero(np.diff(sure) > 2 * REACH_S)
    still = [max(first, sure[0] - REACH_S), min(last, sure[-1] + REACH_S)]
    still += [*(sure[gaps] + REACH_S), *(sure[gaps + 1] - REACH_S)]
    times = np.concatenate([sure, still])
    order = np.argsort(times, kind="stable")
    return times[order], (np.arange(len(times)) < len(sure))[order]


def _best_shifts(times: Array, is_beat: NDArray[np.bool_], pauses: Array) -> Array:
    """The shift in seconds at each knot, by the Viterbi algorithm over a grid of shifts."""
    steps = int(MAX_SHIFT_S / STEP_S + 1e-9)
    grid = np.arange(-steps, steps + 1) * STEP_S
    cost = STAY * (grid / MAX_SHIFT_S) ** 2
    apart = np.abs(grid[:, None] - grid)
    total, came_from = np.where(grid == 0, 0.0, _NEVER), list[NDArray[np.int64]]()
    for knot in range(1, len(times)):
        allowed = apart <= MAX_RATE * (times[knot] - times[knot - 1]) + 1e-12
        options = np.where(allowed, total[:, None], _NEVER)
        best = options.argmax(axis=0)
        came_from.append(best)
        total = options[best, np.arange(len(grid))]
        if is_beat[knot]:
            total = total + np.exp(-(_off(times[knot] + grid, pauses) ** 2) / (2 * MATCH_S**2)) - cost
        else:
            total = np.where(grid == 0, total, _NEVER)
    path = [int(total.argmax())]
    for best in reversed(came_from):
        path.append(int(best[path[-1]]))
    return grid[path[::-1]]


def _off(times: Array, pauses: Array) -> Array:
    """Distance of each time from the nearest of the pauses, which are ascending and at least one."""
    after = np.searchsorted(pauses, times)
    before, after = np.maximum(after - 1, 0), np.minimum(after, len(pauses) - 1)
    return np.minimum(np.abs(times - pauses[before]), np.abs(times - pauses[after]))


def _rounded(shift: Array, fixed_frames: int, fps: float) -> Array:
    smooth = gaussian_filter1d(shift, SMOOTHING_S * fps, mode="constant", truncate=_TRUNCATE)
    smooth[: max(fixed_frames, 1)] = 0
    smooth[-1] = 0
    smooth[np.abs(smooth) < 1e-9] = 0
    return smooth
