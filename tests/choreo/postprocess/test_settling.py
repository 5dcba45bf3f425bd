"""Bodies that hover are let down; those that stand, jump or are given stay where they are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from choreo.motion.skeleton import ANKLE_HEIGHT, CONTACT_JOINTS, TOE_HEIGHT
from choreo.postprocess.finish import finish
from choreo.postprocess.floor import BODY, RESTING_HEIGHTS
from choreo.postprocess.settling import TOLERANCE, settled

from .synthetic_walk import standing

FRAMES = 90


def _risen(heights: NDArray[np.float64]) -> NDArray[np.float64]:
    positions = standing(len(heights))
    positions[..., 1] += heights[:, None]
    return positions


BOTH = np.ones((FRAMES, 2), bool)


def test_a_body_that_hovers_sinks_onto_its_feet() -> None:
    assert settled(_risen(np.full(FRAMES, 0.06)), BOTH) == pytest.approx(np.full(FRAMES, 0.06 - TOLERANCE), abs=1e-9)


def test_a_body_that_stands_stays() -> None:
    assert settled(_risen(np.zeros(FRAMES)), BOTH) == pytest.approx(np.zeros(FRAMES), abs=1e-9)


def test_nothing_sinks_where_no_foot_carries() -> None:
    assert not settled(_risen(np.full(FRAMES, 0.06)), ~BOTH).any()


def test_a_jump_keeps_its_height() -> None:
    seconds = np.arange(FRAMES) / 30
    height = np.maximum(0, 0.3 - 4.905 * (seconds - 1.5) ** 2)
    carried = np.tile((height == 0)[:, None], (1, 2))
    assert settled(_risen(height), carried) == pytest.approx(np.zeros(FRAMES), abs=1e-9)


def test_given_frames_stay() -> None:
    held = np.zeros(FRAMES, bool)
    held[40:50] = True
    sunk = settled(_risen(np.full(FRAMES, 0.06)), BOTH, given=held)
    assert sunk[held] == pytest.approx(np.zeros(10), abs=1e-9)
    assert sunk[[0, -1]] == pytest.approx([0.06 - TOLERANCE] * 2, abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0, 0.4), min_size=12, max_size=40), st.integers(0, 2**31))
def test_it_is_never_more_than_what_is_below_the_body(heights: list[float], seed: int) -> None:
    rng = np.random.default_rng(seed)
    positions = _risen(np.array(heights))
    positions[:, CONTACT_JOINTS, 1] += rng.uniform(0, 0.1, (len(heights), 4))
    sunk = settled(positions, rng.random((len(heights), 2)) < 0.6)
    lowest = (positions[:, BODY, 1] - RESTING_HEIGHTS[list(BODY)]).min(axis=1)
    feet = (positions[:, CONTACT_JOINTS, 1] - [ANKLE_HEIGHT, ANKLE_HEIGHT, TOE_HEIGHT, TOE_HEIGHT]).min(axis=1)
    assert (sunk >= 0).all()
    assert (sunk <= np.maximum(0, np.minimum(lowest, feet)) + 1e-9).all()


def test_finished_feet_are_near_the_floor() -> None:
    """The body rises by 7 cm and sinks every two seconds, too fast for the estimate of the floor."""
    seconds = np.arange(240) / 30
    risen = _risen(0.035 + 0.035 * np.sin(np.pi * seconds))
    before = risen[:, CONTACT_JOINTS, 1].min(axis=1) - TOE_HEIGHT
    feet = finish(risen).motion.positions[:, CONTACT_JOINTS, 1].min(axis=1) - TOE_HEIGHT
    assert before.max() > 0.069
    assert feet.max() < 0.035
