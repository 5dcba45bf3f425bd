"""Feet that swing clear the floor."""

import numpy as np

from choreo.postprocess.swing import CLEARANCE, swing_lift

from .synthetic_walk import stance, walk

FEET = np.stack([stance(196, side) for side in (0, 1)], axis=1)


def test_a_dragging_foot_is_raised_while_it_swings() -> None:
    lift = swing_lift(walk(swing_height=0.0), FEET)
    assert CLEARANCE * 0.95 < lift.max() < CLEARANCE * 1.05
    assert lift[FEET].mean() < 0.2 * lift[~FEET].mean()


def test_a_foot_that_clears_the_floor_or_carries_is_left_alone() -> None:
    assert swing_lift(walk(swing_height=0.25), FEET).max() < 0.5 * CLEARANCE
    assert not swing_lift(walk(swing_height=0.0), np.ones((196, 2), bool)).any()


def test_given_frames_are_not_raised() -> None:
    mask = np.arange(196) < 60
    lift = swing_lift(walk(swing_height=0.0), FEET, given=mask)
    assert not lift[mask].any()
    assert lift.any()
