import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_training import clips

from choreo.motion.skeleton import BONE_LENGTHS, PARENTS
from choreo.postprocess.finish import finish
from choreo.postprocess.options import FinishOptions
from choreo.postprocess.pinned import Pinned, faded

DANCE = clips()[1].positions()[:120]


def pinned(*frames: int, raised: float = 0.0, loop: bool = False) -> Pinned:
    at = np.zeros(len(DANCE), bool)
    at[list(frames)] = True
    return Pinned(at, DANCE + np.array([0, raised, 0]), loop)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32), frames=st.lists(st.integers(0, 119), min_size=1, max_size=8, unique=True))
def test_given_poses_stay_whatever_surrounds_them(seed: int, frames: list[int]) -> None:
    noisy = DANCE + np.random.default_rng(seed).normal(0, 0.02, DANCE.shape) + np.array([0, 0.1, 0])
    noisy[frames] = DANCE[frames]
    done = finish(noisy, pinned=pinned(*frames)).motion
    error = np.linalg.norm(done.positions - DANCE, axis=-1)[frames]
    assert error.max() < 1e-3  # metres; without it the floor alone moves them by 10 cm
    bones = np.linalg.norm(done.positions[:, 1:] - done.positions[:, list(PARENTS[1:])], axis=-1)
    np.testing.assert_allclose(bones, np.broadcast_to(BONE_LENGTHS[1:], bones.shape), atol=1e-5)


def test_without_rotations_given_poses_stay_as_well() -> None:
    done = finish(
        DANCE + np.array([0, 0.1, 0]), options=FinishOptions(bone_lengths=False), pinned=pinned(30, 31, 90)
    ).motion
    np.testing.assert_allclose(done.positions[[30, 31, 90]], DANCE[[30, 31, 90]], atol=1e-6)


def test_frames_far_from_given_poses_hardly_change() -> None:
    free, held = finish(DANCE).motion, finish(DANCE, pinned=pinned(60, raised=0.2)).motion
    far = np.abs(np.arange(len(DANCE)) - 60) >= 15
    np.testing.assert_allclose(held.positions[far], free.positions[far], atol=0.02)  # the root follows
    assert np.abs(held.positions[60] - free.positions[60]).max() > 0.1


def test_the_way_to_a_given_pose_has_no_step() -> None:
    free, held = finish(DANCE).motion, finish(DANCE, pinned=pinned(60, 61, 62, raised=0.2)).motion
    added = held.positions[:, 0, 1].astype(np.float64) - free.positions[:, 0, 1]
    assert np.abs(np.diff(added)).max() < 0.2 * 1.5 / 15 * 1.2  # the steepest slope of a smooth step


def test_no_given_pose_changes_nothing() -> None:
    none = Pinned(np.zeros(len(DANCE), bool), np.zeros_like(DANCE))
    np.testing.assert_array_equal(finish(DANCE).motion.positions, finish(DANCE, pinned=none).motion.positions)


def test_a_loop_ends_as_it_begins_where_it_has_got_to() -> None:
    none = Pinned(np.zeros(len(DANCE), bool), np.zeros_like(DANCE), loop=True)
    done = finish(DANCE, pinned=none).motion.positions.astype(np.float64)
    lacking = done[-1] - done[0]
    np.testing.assert_allclose(lacking - lacking[0] * (1, 0, 1), 0, atol=1e-3)
    assert abs(lacking[0, 0]) > 0.5


@pytest.mark.parametrize(("a", "b"), [(10, 14), (10, 30), (10, 100)])
def test_corrections_pass_from_one_given_frame_to_the_next(a: int, b: int) -> None:
    at = np.zeros(120, bool)
    at[[a, b]] = True
    correction = np.zeros((120, 1))
    correction[a], correction[b] = 1, 3
    out = faded(correction, at)[:, 0]
    assert out[[a, b]].tolist() == [1, 3]
    assert (out >= 0).all()
    assert out.max() <= 3 + 1e-9
    if b - a <= 15:
        assert (np.diff(out[a : b + 1]) > 0).all()
    assert not out[b + 15 :].any()
