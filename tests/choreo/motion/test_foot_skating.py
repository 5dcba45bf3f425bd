"""Foot-skating ratio."""

import numpy as np
import pytest

from choreo.errors import InvalidInput
from choreo.motion.foot_skating import foot_skating_ratio


def sliding(speed: float, height: float = 0.0, frames: int = 60, fps: float = 30) -> np.ndarray:
    positions = np.ones((frames, 22, 3))
    positions[:, [10, 11], 1] = height
    positions[:, [10, 11], 0] = np.arange(frames)[:, None] * speed / fps
    return positions


@pytest.mark.parametrize("fps", [20.0, 30.0, 60.0])
def test_golden_values(fps: float) -> None:
    assert foot_skating_ratio(sliding(0.0, fps=fps), fps) == 0
    assert foot_skating_ratio(sliding(1.0, fps=fps), fps) == 1
    assert foot_skating_ratio(sliding(1.0, height=1.0, fps=fps), fps) == 0


def test_vertical_speed_does_not_count() -> None:
    positions = sliding(0.0)
    positions[::2, [10, 11], 1] = 0.049
    assert foot_skating_ratio(positions) == 0


def test_slow_slides_and_single_fast_frames_do_not_count() -> None:
    assert foot_skating_ratio(sliding(0.4)) == 0
    hop = sliding(0.0)
    hop[30:, [10, 11], 0] += 0.02  # one step at 0.6 m/s
    assert foot_skating_ratio(hop) == 0


def test_one_foot_is_enough_and_must_be_low_at_both_ends() -> None:
    positions = sliding(1.0)
    positions[:, 11, 1] = 1.0
    assert foot_skating_ratio(positions) == 1
    positions[30:, 10, 1] = 1.0
    assert foot_skating_ratio(positions) == pytest.approx(29 / 59)


def test_a_single_frame_does_not_skate_and_broken_input_is_refused() -> None:
    assert foot_skating_ratio(sliding(1.0, frames=1)) == 0
    with pytest.raises(InvalidInput):
        foot_skating_ratio(np.full((5, 22, 3), np.nan))
