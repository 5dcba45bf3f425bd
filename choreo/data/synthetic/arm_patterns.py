"""Arm movements of the synthetic choreographer, by name."""

from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from choreo.data.synthetic.choreography import Arm

Array = NDArray[np.float64]


def arms(pattern: str, beats: Array, accent: float) -> tuple[Arm, Arm]:
    """Left and right arm over beats (T,); `accent`, about 1, scales how much they move."""
    pose, _ = _PATTERNS[pattern]
    left, right = (pose(beats, side, accent) for side in (1.0, -1.0))
    return left, right


def _cos(beats: Array, period: float, phase: float = 0.0) -> Array:
    return np.cos(2 * np.pi * (beats - phase) / period)


def _arm(
    beats: Array, raised: Array | float, swing: Array | float, across: Array | float, twist: Array | float,
    bend: Array | float,
) -> Arm:  # fmt: skip
    full = np.zeros_like(beats)
    return Arm(raised + full, swing + full, across + full, twist + full, np.clip(bend + full, 0.05, 2.5))


def _swing(b: Array, side: float, a: float) -> Arm:
    """In opposite directions, as in walking."""
    forward = side * _cos(b, 2, 0)
    return _arm(b, -1.25, 0.1 + 0.5 * a * forward, 0.0, 0.0, 0.55 + 0.3 * a * forward)


def _pump(b: Array, side: float, a: float) -> Arm:
    """Fists up and down in front, alternating."""
    up = side * _cos(b, 2, 0)
    return _arm(b, -1.1, 0.45 + 0.4 * a * up, 0.1, 0.0, 1.65 + 0.35 * a * up)


def _cross(b: Array, side: float, a: float) -> Arm:
    """In front of the chest and out again, every two beats."""
    closed = 0.5 + 0.5 * _cos(b, 2, 0)
    return _arm(b, -0.55 + 0.25 * closed, 0.0, 0.2 + 1.0 * closed, 0.2 + 0.1 * side, 0.5 + 0.9 * closed * min(a, 1.1))


def _hips(b: Array, side: float, a: float) -> Arm:
    """Hands rest on the hips."""
    return _arm(b, -0.8, -0.35, 0.0, -1.3, 1.75 + 0.04 * a * _cos(b, 1))


def _circle(b: Array, side: float, a: float) -> Arm:
    """As if around a ball or a partner."""
    return _arm(b, -0.28 + 0.1 * a * _cos(b, 4), 0.0, 0.65 + 0.12 * a * side * _cos(b, 4, 1), 0.1, 0.95)


def _open(b: Array, side: float, a: float) -> Arm:
    """Together low, then apart at shoulder height, over four beats."""
    apart = 0.5 - 0.5 * _cos(b, 4, 0)
    return _arm(b, -1.1 + 1.0 * a * apart, 0.3 * (1 - apart), 0.5 * (1 - apart), 0.2, 0.7 - 0.4 * apart)


def _clap(b: Array, side: float, a: float) -> Arm:
    """Hands meet in front on every second beat."""
    closed = np.exp(1.5 * (_cos(b, 2, 0) - 1))
    return _arm(b, -0.75 + 0.05 * closed, 0.0, 0.35 + 0.72 * closed, 0.35, 1.15 - 0.15 * (1 - closed) * a)


def _jacks(b: Array, side: float, a: float) -> Arm:
    """From the thighs to overhead, with the feet."""
    up = 0.5 - 0.5 * _cos(b, 2, 0)
    return _arm(b, -1.2 + 2.3 * up, 0.0, 0.1 + 0.1 * up, 0.0, 0.3)


def _wave(b: Array, side: float, a: float) -> Arm:
    """A wave that runs out along one arm and in along the other."""
    delay = 0.0 if side > 0 else 2.0
    lift, fold = _cos(b, 4, delay), _cos(b, 4, delay + 0.7)
    return _arm(b, -0.1 + 0.5 * a * lift, 0.0, 0.25, 0.9 * fold, 0.55 + 0.4 * a * fold)


def _overhead(b: Array, side: float, a: float) -> Arm:
    """Raised, swaying together."""
    lean = side * _cos(b, 4, 1)
    return _arm(b, 1.0 + 0.25 * a * lean, 0.0, 0.25, 0.6, 0.5 - 0.2 * a * lean)


def _bent(b: Array, side: float, a: float) -> Arm:
    """Elbows at the sides, forearms swinging left and right."""
    return _arm(b, -1.05, 0.15, 0.25 + 0.35 * a * side * _cos(b, 2, 0), 0.0, 1.5)


_PATTERNS = MappingProxyType(
    {
        "swing": (_swing, "with the arms swinging"),
        "pump": (_pump, "pumping the fists"),
        "cross": (_cross, "crossing the arms"),
        "hips": (_hips, "with hands on the hips"),
        "circle": (_circle, "with rounded arms"),
        "open": (_open, "with arms opening wide"),
        "clap": (_clap, "clapping"),
        "jacks": (_jacks, "with arms swinging overhead"),
        "wave": (_wave, "with waves running through the arms"),
        "overhead": (_overhead, "with the arms held high"),
        "bent": (_bent, "with bent elbows"),
    }
)
ARMS = MappingProxyType({name: words for name, (_, words) in _PATTERNS.items()})
"""Pattern to its description in captions."""
