"""Physical foot contact."""

import numpy as np
import pytest

from choreo.errors import InvalidInput
from choreo.evaluation.physical_foot_contact import physical_foot_contact

FEET = [7, 8, 10, 11]


def by_loops(p: np.ndarray) -> float:
    """EDGE's definition at 30 fps, y up."""
    effort, slides = [], []
    for t in range(1, len(p) - 1):
        a = (p[t + 1, 0] - 2 * p[t, 0] + p[t - 1, 0]) * 900
        effort.append(np.linalg.norm([a[0], max(a[1], 0), a[2]]))
        left, right = (min(np.hypot(*(p[t + 1, j] - p[t, j])[[0, 2]]) for j in foot) for foot in ((7, 10), (8, 11)))
        slides.append(left * right)
    return float(1e4 * np.mean(np.array(effort) / max(effort) * slides))


def skating(fps: float, speed: float = 0.3, seconds: float = 2) -> np.ndarray:
    """Both feet slide evenly while the root speeds up evenly."""
    t = np.arange(round(seconds * fps)) / fps
    p = np.zeros((len(t), 22, 3))
    p[:, 0, 0] = t**2
    p[:, FEET, 2] = speed * t[:, None]
    return p


def test_it_is_the_definition() -> None:
    p = np.cumsum(np.random.default_rng(0).standard_normal((50, 22, 3)), axis=0) * 0.01
    assert physical_foot_contact(p) == pytest.approx(by_loops(p))


@pytest.mark.parametrize("fps", [20.0, 30.0, 60.0])
def test_even_skating_is_the_same_at_any_rate(fps: float) -> None:
    assert physical_foot_contact(skating(fps), fps) == pytest.approx(1e4 * (0.3 / 30) ** 2)


def test_a_foot_that_stands_excuses_the_other() -> None:
    p = skating(30)
    p[:, 7] = 0  # the left ankle stands, its toe does not
    assert physical_foot_contact(p) == 0


def test_falling_and_not_accelerating_need_no_feet() -> None:
    falling = skating(30)
    falling[:, 0, 0] = 0
    falling[:, 0, 1] = -4.9 * (np.arange(len(falling)) / 30) ** 2
    assert physical_foot_contact(falling) == 0
    rising = falling * (1, -1, 1)
    assert physical_foot_contact(rising) == pytest.approx(1)
    still = np.ones((9, 22, 3))
    assert physical_foot_contact(still) == physical_foot_contact(still[:2]) == 0


def test_broken_motion_is_refused() -> None:
    for bad in (np.ones((1, 22, 3)), np.full((9, 22, 3), np.nan)):
        with pytest.raises(InvalidInput) as caught:
            physical_foot_contact(bad)
        assert caught.value.field == "positions"
