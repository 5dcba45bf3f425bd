"""The root follows the foot that carries the body."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from choreo.motion.rotations import yaw
from choreo.motion.skeleton import PELVIS
from choreo.motion.travel import travel
from choreo.postprocess.root_follow import follow_support

from .synthetic_walk import stance, standing, walk

FEET = np.stack([stance(196, side) for side in (0, 1)], axis=1)


def shaken(positions: np.ndarray, amplitude: float = 0.1) -> np.ndarray:
    """The whole body slides to and fro, by up to .6 m/s."""
    out = positions.copy()
    out[..., 0] += amplitude * np.sin(2 * np.pi * np.arange(len(out)) / 30)[:, None]
    return out


def test_a_body_that_slides_stays_and_still_travels() -> None:
    clean, bad = walk(), shaken(walk())
    followed = bad + follow_support(bad, FEET)[:, None]
    before, after = (np.abs(np.diff((p - clean)[:, PELVIS, 0])).mean() for p in (bad, followed))
    assert after < 0.65 * before  # the rest is kept for travel
    assert abs(travel(followed) / travel(clean) - 1) < 0.1


def test_a_clean_walk_is_left_alone() -> None:
    clean = walk()
    assert np.abs(follow_support(clean, FEET)).max() < 0.02


def test_nothing_moves_without_support() -> None:
    bad = shaken(walk())
    assert not follow_support(bad, np.zeros((196, 2), bool)).any()


@given(first=st.integers(0, 150), length=st.integers(1, 40))
@settings(max_examples=20, deadline=None)
def test_given_frames_do_not_move(first: int, length: int) -> None:
    mask = np.zeros(196, bool)
    mask[first : first + length] = True
    shift = follow_support(shaken(walk()), FEET, given=mask)
    assert not shift[mask].any()
    assert shift.any()
    assert np.abs(np.diff(shift, axis=0)).max() < 0.05


@given(angle=st.floats(-np.pi, np.pi))
@settings(max_examples=20, deadline=None)
def test_it_commutes_with_turning(angle: float) -> None:
    bad, turn = shaken(walk()), yaw(angle).T
    np.testing.assert_allclose(follow_support(bad @ turn, FEET), follow_support(bad, FEET) @ turn, atol=1e-9)


def test_short_clips_stay() -> None:
    assert not follow_support(standing(2), np.ones((2, 2), bool)).any()
