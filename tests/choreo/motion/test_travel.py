"""How far a dance goes."""

import numpy as np
import pytest

from choreo.motion.travel import travel


def test_a_straight_path_has_its_length_at_any_rate() -> None:
    for fps in (20.0, 30.0, 60.0):
        p = np.zeros((round(10 * fps), 22, 3))
        p[..., 2] = np.linspace(0, 8, len(p))[:, None]
        assert travel(p, fps) == pytest.approx(8, rel=0.05)


def test_sway_and_height_count_little_or_nothing() -> None:
    p = np.zeros((300, 22, 3))
    p[..., 1] = np.sin(np.arange(300))[:, None]
    assert travel(p) == 0
    p[..., 0] = 0.02 * np.sin(2 * np.pi * np.arange(300) / 15)[:, None]
    assert travel(p) < 0.15 * 0.08 * 20
    assert travel(p[:1]) == 0
