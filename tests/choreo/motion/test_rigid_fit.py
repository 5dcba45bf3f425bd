"""The fit over time: exact where positions are rigid, calmer where they are noisy, steady where bodies collapse."""

import numpy as np
import pytest

from choreo.motion import kinematics
from choreo.motion import rotations as rot
from choreo.motion.kinematics import forward_kinematics
from choreo.motion.rigid_fit import FASTEST_JOINT, fit_over_time, fit_rotations
from choreo.motion.skeleton import BONE_LENGTHS, CHEST, NUM_JOINTS, PARENTS, PELVIS
from tests.choreo.postprocess.synthetic_walk import noisy, walk


def test_rigid_motion_is_its_own_fit() -> None:
    clean = walk(60)
    fitted = fit_over_time(clean)
    assert np.abs(fitted.positions - clean).max() < 1e-9
    assert fitted.residual < 1e-9


def test_positions_are_forward_kinematics_with_canonical_bones() -> None:
    fitted = fit_over_time(noisy(walk(60), 0.02))
    assert np.allclose(kinematics.forward_kinematics(fitted.root, fitted.local), fitted.positions, atol=1e-12)
    lengths = np.linalg.norm(fitted.positions[:, 1:] - fitted.positions[:, PARENTS[1:]], axis=-1)
    assert np.allclose(lengths, BONE_LENGTHS[1:], atol=1e-12)


def test_noise_is_not_amplified_along_the_limbs() -> None:
    clean = walk(196)
    given = noisy(clean, 0.01)

    def error(positions: np.ndarray) -> float:
        return float(np.linalg.norm(positions - clean, axis=-1).mean())

    assert error(fit_over_time(given).positions) < 1.05 * error(given)
    assert error(fit_over_time(given).positions) < 0.75 * error(kinematics.fit(given).positions)


def test_bones_of_wrong_length_leave_the_pose_as_it_was() -> None:
    clean = walk(60)
    stretched = clean[:, [0]] + 1.05 * (clean - clean[:, [0]])
    assert np.linalg.norm(fit_over_time(stretched).positions - clean, axis=-1).mean() < 0.01


def rest_pose(frames: int) -> np.ndarray:
    turns = np.broadcast_to(np.eye(3), (frames, NUM_JOINTS, 3, 3))
    return forward_kinematics(np.tile([0, 0.95, 0], (frames, 1)), turns).copy()


def turn(world: np.ndarray) -> np.ndarray:
    """Degrees that rotations (T, 3, 3) turn per frame."""
    return np.degrees(np.linalg.norm(rot.rotation_vector(np.swapaxes(world[:-1], -1, -2) @ world[1:]), axis=-1))


def speed(positions: np.ndarray) -> np.ndarray:
    return np.linalg.norm(np.diff(positions, axis=0), axis=-1) * 30


@pytest.mark.parametrize(("frames", "aside"), [(60, 0.0), (60, 0.01), (30, 0.0), (14, 0.02), (8, 0.0)])
def test_a_trunk_that_narrows_to_nothing_turns_over_many_frames(frames: int, aside: float) -> None:
    positions = rest_pose(frames + 20)
    width = np.r_[np.ones(10), np.linspace(1, -1, frames), -np.ones(10)][:, None]
    positions[..., 0] = positions[..., 0] * width + aside
    positions[..., 2] *= width
    fitted = fit_over_time(positions)
    assert max(turn(fitted.world[:, PELVIS]).max(), turn(fitted.world[:, CHEST]).max()) < 31
    assert np.abs(fitted.positions[:3] - positions[:3]).max() < 0.02
    assert np.abs(fitted.positions[-3:] - positions[-3:]).max() < 0.02


def test_a_trunk_that_turns_round_leans_as_its_spine_does() -> None:
    upright = rest_pose(60)
    width = np.linspace(1, -1, 60)[:, None]
    upright[..., 0] *= width
    upright[..., 2] *= width
    lean = rot.axis_angle(np.array([1.0, 0.0, 0.0]), np.full(60, 0.4))
    leaning = np.einsum("tij,tkj->tki", lean, upright)
    up = fit_over_time(leaning).world[:, PELVIS, :, 1]
    assert np.abs(up - lean[:, :, 1]).max() < 0.1


def test_hips_that_collapse_follow_the_shoulders() -> None:
    rest = rest_pose(90)
    positions = np.einsum("tij,tkj->tki", rot.yaw(np.linspace(0, 3, 90)), rest)
    clean = positions.copy()
    hips = positions[:, [1, 2]].mean(axis=1, keepdims=True)
    positions[30:60, [1, 2]] = hips[30:60] + 0.02 * (positions[30:60, [1, 2]] - hips[30:60])
    fitted = fit_over_time(positions)
    given = kinematics.fit(clean)
    between = np.swapaxes(given.world[:, PELVIS], -1, -2) @ fitted.world[:, PELVIS]
    assert np.degrees(np.linalg.norm(rot.rotation_vector(between), axis=-1)).max() < 3


@pytest.mark.parametrize("wrist", [20, 21])
def test_a_forearm_that_passes_through_zero_keeps_its_direction(wrist: int) -> None:
    positions = rest_pose(60)
    shrinking = np.linspace(1, -1, 60)[:, None] * [-0.06, 0, 0] + [0, 0.002, 0]
    positions[:, wrist] = positions[:, PARENTS[wrist]] + shrinking
    assert speed(fit_over_time(positions).positions).max() < 3


def test_elbows_do_not_fold_into_the_upper_arm_and_go_round_it() -> None:
    positions = rest_pose(80)
    angle = np.linspace(-2.5, 2.5, 80)
    bone = np.stack([np.cos(angle), np.sin(angle), np.zeros(80)], axis=1)
    positions[:, 21] = positions[:, 19] + 0.25 * bone  # the upper arm lies in the same direction at angle 0
    fitted = fit_over_time(positions).positions
    upper, lower = fitted[:, 17] - fitted[:, 19], fitted[:, 21] - fitted[:, 19]
    cosine = (upper * lower).sum(-1) / np.linalg.norm(upper, axis=-1) / np.linalg.norm(lower, axis=-1)
    assert np.degrees(np.arccos(cosine.max())) > 29
    assert speed(fitted).max() < FASTEST_JOINT


def test_the_fit_does_not_depend_on_where_the_dancer_is_or_faces() -> None:
    rng = np.random.default_rng(3)
    positions = noisy(walk(60), 0.02)
    positions[20:40, 21] = positions[20:40, 19] + 0.02 * rng.normal(size=(20, 3))
    away = np.array([2.0, 0.0, -3.0])
    turned = np.einsum("ij,tkj->tki", rot.yaw(1.1), positions) + away
    expected = np.einsum("ij,tkj->tki", rot.yaw(1.1), fit_over_time(positions).positions) + away
    assert np.abs(fit_over_time(turned).positions - expected).max() < 1e-9


def test_a_single_frame_and_two_are_fitted() -> None:
    for frames in (1, 2):
        clean = walk(60)[:frames]
        assert np.abs(fit_over_time(clean).positions - clean).max() < 1e-9


def test_a_recording_that_cuts_to_another_pose_is_fitted_as_it_is() -> None:
    cut = rest_pose(40)
    cut[20:] = np.einsum("ij,tkj->tki", rot.yaw(2.0), cut[20:])
    assert np.abs(fit_rotations(cut).positions - cut).max() < 1e-9
    assert np.abs(fit_over_time(cut).positions - cut).max() > 0.1


def test_what_a_network_made_is_fitted_over_time() -> None:
    collapsing = rest_pose(40)
    collapsing[:, 20] = collapsing[:, 18] + np.linspace(0.25, -0.25, 40)[:, None] * [1.0, 0.0, 0.0]
    assert (fit_rotations(collapsing).world == fit_over_time(collapsing).world).all()
