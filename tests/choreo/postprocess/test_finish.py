"""The finisher as a whole, on synthetic motion."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from choreo.errors import InvalidInput, NonFiniteOutput
from choreo.evaluation.kinematics import jerk
from choreo.motion import kinematics
from choreo.motion.foot_skating import foot_skating_ratio
from choreo.motion.rotations import yaw
from choreo.motion.skeleton import BONE_LENGTHS, PARENTS
from choreo.postprocess.finish import finish, finish_performance
from choreo.postprocess.on_beat import beat_warp
from choreo.postprocess.options import FinishOptions
from choreo.postprocess.pinned import Pinned

from .synthetic_walk import noisy, peak_acceleration, slid, standing, walk


def raw(frames: int = 196, seed: int = 0) -> np.ndarray:
    """What a model might give: jittery, sliding, bones a few per cent off."""
    return noisy(slid(walk(frames), 0.05) * 1.02, 0.01, seed)


def moved(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(np.asarray(a, np.float64) - b, axis=-1).mean())


def test_output_is_rigid_and_forward_kinematics_of_its_rotations() -> None:
    done = finish(raw())
    motion = done.motion
    assert motion.positions.dtype == np.float32
    assert motion.positions.shape == (196, 22, 3)
    p = motion.positions.astype(np.float64)
    assert np.abs(np.linalg.norm(p[:, 1:] - p[:, PARENTS[1:]], axis=-1) - BONE_LENGTHS[1:]).max() < 2e-6
    assert motion.rotations is not None
    assert np.abs(kinematics.forward_kinematics(p[:, 0], motion.rotations) - p).max() < 1e-5
    assert done.contacts.shape == (196, 4)
    assert done.before_lock.shape == (196, 22, 3)
    assert done.fit_residual is not None
    assert 0 < done.fit_residual < 0.03


def test_jitter_and_skating_fall_and_nothing_pops() -> None:
    given_ = raw()
    done = finish(given_).motion.positions
    assert jerk(done) < 0.3 * jerk(given_)
    assert foot_skating_ratio(done) <= 0.5 * foot_skating_ratio(given_)
    assert peak_acceleration(done) < peak_acceleration(given_)
    assert moved(done, given_) < 0.04
    assert done[..., 1].min() > -0.01


def test_clean_motion_is_nearly_left_alone() -> None:
    clean = walk()
    assert moved(finish(clean).motion.positions, clean) < 0.005


def test_finishing_twice_changes_little() -> None:
    once = finish(raw()).motion.positions
    assert moved(finish(once).motion.positions, once) < 0.005


@given(angle=st.floats(-np.pi, np.pi), x=st.floats(-2, 2), z=st.floats(-2, 2), seed=st.integers(0, 5))
@settings(max_examples=20, deadline=None)
def test_finishing_commutes_with_turning_and_moving_over_the_floor(angle: float, x: float, z: float, seed: int) -> None:
    given_ = raw(90, seed)
    turn, shift = yaw(angle).T, np.array([x, 0, z])
    expected = finish(given_).motion.positions @ turn + shift
    assert np.abs(finish(given_ @ turn + shift).motion.positions - expected).max() < 2e-6


@pytest.mark.parametrize("frames", range(1, 9))
@pytest.mark.parametrize("lock", [True, False])
def test_short_clips_are_finished(frames: int, lock: bool) -> None:
    done = finish(raw(frames), options=FinishOptions(foot_lock=lock))
    assert done.motion.num_frames == frames
    assert np.isfinite(done.motion.positions).all()


@given(seed=st.integers(0, 10_000), frames=st.integers(1, 40))
@settings(max_examples=30, deadline=None)
def test_any_finite_positions_give_finite_rigid_motion(seed: int, frames: int) -> None:
    scatter = np.random.default_rng(seed).normal(0, 0.5, (frames, 22, 3))
    p = finish(scatter).motion.positions.astype(np.float64)
    assert np.abs(np.linalg.norm(p[:, 1:] - p[:, PARENTS[1:]], axis=-1) - BONE_LENGTHS[1:]).max() < 2e-6


def test_coincident_joints_are_finished() -> None:
    assert np.isfinite(finish(np.zeros((10, 22, 3))).motion.positions).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_output_that_is_not_finite_is_refused(bad: float) -> None:
    given_ = standing(10)
    given_[3, 5, 1] = bad
    with pytest.raises(NonFiniteOutput, match="frame 3"):
        finish(given_)


@pytest.mark.parametrize("shape", [(0, 22, 3), (5, 21, 3), (5, 22, 2), (22, 3)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidInput):
        finish(np.zeros(shape))


@pytest.mark.parametrize("fps", [0, -30, np.nan, 1e6])
def test_a_senseless_frame_rate_is_refused(fps: float) -> None:
    with pytest.raises(InvalidInput, match="fps"):
        finish(standing(5), fps)


def test_far_coordinates_are_refused() -> None:
    with pytest.raises(InvalidInput):
        finish(standing(5) + 1e5)


def test_each_stage_can_be_switched_off() -> None:
    given_ = raw()
    nothing = finish(given_, options=FinishOptions(smooth=False, bone_lengths=False, foot_lock=False))
    assert nothing.motion.rotations is None
    assert nothing.fit_residual is None
    assert moved(nothing.motion.positions, given_) < 0.02  # on the floor, else as it was
    rough = finish(given_, options=FinishOptions(smooth=False)).motion.positions
    assert jerk(rough) > 2 * jerk(finish(given_).motion.positions)
    unlocked = finish(given_, options=FinishOptions(foot_lock=False))
    assert np.array_equal(unlocked.motion.positions, unlocked.before_lock)
    soft = finish(given_, options=FinishOptions(bone_lengths=False)).motion
    assert soft.rotations is None
    assert foot_skating_ratio(soft.positions) <= 0.5 * foot_skating_ratio(given_)


def test_the_input_is_not_written_to() -> None:
    given_ = raw(30)
    given_.setflags(write=False)
    finish(given_)


def test_single_precision_is_accepted_and_agrees() -> None:
    given_ = raw(60)
    assert moved(finish(given_.astype(np.float32)).motion.positions, finish(given_).motion.positions) < 1e-4


@pytest.mark.parametrize("seed", range(5))
def test_rounding_stays_rounding(seed: int) -> None:
    """Another batch shape changes a model's last bits; the gates of the lock must not make centimetres of them."""
    given_ = raw(seed=seed)
    shaken = given_ + np.random.default_rng(seed).uniform(-1e-5, 1e-5, given_.shape)
    assert np.abs(finish(shaken).motion.positions - finish(given_).motion.positions).max() < 1e-3


def test_the_report_is_json_and_rides_in_the_meta() -> None:
    done = finish(raw())
    report = json.loads(json.dumps(done.report))
    assert report["foot_skating_after"] <= report["foot_skating_before"]
    assert report["fit_residual"] == done.fit_residual
    assert done.motion.meta["finish"] == done.report


def test_the_same_input_gives_the_same_bits() -> None:
    assert np.array_equal(finish(raw()).motion.positions, finish(raw()).motion.positions)


def test_dancers_of_a_performance_are_finished_one_by_one() -> None:
    options = FinishOptions(smooth=False)
    dancers = [raw(60, 1), raw(60, 2) + np.array([1.0, 0, 0.5])]
    done = finish_performance(dancers, 30, options)
    for one, alone in zip(done, (finish(d, 30, options) for d in dancers), strict=True):
        assert np.array_equal(one.motion.positions, alone.motion.positions)
        still = {"on_beat": beat_warp([dancers[0]], []).document()}
        assert (one.fit_residual, one.report) == (alone.fit_residual, alone.report | still)
    assert done[0].report != done[1].report
    spoilt = dancers[1].copy()
    spoilt[7, 0] = np.nan
    with pytest.raises(NonFiniteOutput, match="frame 7"):
        finish_performance([dancers[0], spoilt])


@pytest.mark.parametrize("fps", [20.0, 60.0])
def test_other_frame_rates_are_finished_alike(fps: float) -> None:
    frames = round(4 * fps)
    clean = walk(frames, fps=fps)  # which itself skates a little, where its swings begin and end
    given_ = noisy(slid(clean, 0.05, fps=fps), 0.005)
    done = finish(given_, fps)
    assert done.motion.fps == fps
    assert done.report["foot_skating_after"] < foot_skating_ratio(clean, fps) + 0.08
    assert jerk(done.motion.positions, fps) < 0.3 * jerk(given_, fps)
    assert moved(done.motion.positions, given_) < 0.04


def test_pinned_poses_stay_where_they_are() -> None:
    mask = np.arange(196) < 40
    mask[100:120] = True
    clean = finish(raw()).motion.positions.astype(np.float64)
    done = finish(raw(), pinned=Pinned(mask, clean))
    assert np.abs(done.motion.positions - clean)[mask].max() < 1e-4
    assert peak_acceleration(done.motion.positions) < peak_acceleration(raw())


def test_travel_is_kept_and_reported() -> None:
    report = finish(raw()).report
    assert report["travel_after"] == pytest.approx(report["travel_before"], rel=0.1)
