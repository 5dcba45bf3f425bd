"""The text-to-motion lab's representation: exact inverses, headings, and what stands beside the joints."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests_data import data_pack

from choreo.data.layouts.packs import DataPack
from choreo.motion.kinematics import fit, forward_kinematics
from choreo.motion.lab import HEADING_VELOCITY, LAB_199, ROTATIONS, heading_velocity
from choreo.motion.representation import ROOT_VELOCITY_66, ROOT_VELOCITY_70, converted, in_default, representation
from choreo.motion.rotations import axis_angle, normalize, yaw
from choreo.motion.skeleton import MIRROR

seeds = st.integers(0, 2**32 - 1)
angles = st.floats(-4, 4)


def scattered(seed: int, frames: int = 9) -> np.ndarray:
    """Joints anywhere, of no body."""
    p = np.random.default_rng(seed).normal(size=(frames, 22, 3))
    p[:, :, [0, 2]] -= p[0, 0, [0, 2]]
    return p


def bodies(seed: int, frames: int = 9) -> np.ndarray:
    """Poses of the canonical skeleton, every joint turned by up to half a turn."""
    rng = np.random.default_rng(seed)
    local = axis_angle(normalize(rng.normal(size=(frames, 22, 3))), rng.uniform(-3, 3, size=(frames, 22)))
    return forward_kinematics(rng.normal(size=(frames, 3)), local)


def turning(headings: np.ndarray) -> np.ndarray:
    """A standing body with these headings (T,)."""
    local = np.tile(np.eye(3), (len(headings), 22, 1, 1))
    local[:, 0] = yaw(headings)
    return forward_kinematics(np.tile([0.0, 0.95, 0.0], (len(headings), 1)), local)


def test_it_is_found_by_name_and_has_the_documents_parts() -> None:
    assert representation("lab-199") is LAB_199
    assert LAB_199.channels == 1 + 2 + 1 + 22 * 6 + 21 * 3 == 199


@given(seeds, angles, st.sampled_from([20.0, 30.0, 60.0]), st.sampled_from([scattered, bodies]))
def test_decode_inverts_encode(seed: int, angle: float, fps: float, made: object) -> None:
    p = made(seed)  # type: ignore[operator]
    features, origin = LAB_199.encode(p, fps, angle)
    np.testing.assert_allclose(LAB_199.decode(features, fps, origin), p, atol=1e-5)


@given(seeds)
def test_features_in_single_precision_are_inverted_as_well(seed: int) -> None:
    p = bodies(seed)
    features, origin = LAB_199.encode(p)
    np.testing.assert_allclose(LAB_199.decode(features.astype(np.float32), None, origin), p, atol=1e-5)


@given(seeds)
def test_the_rotations_pose_the_same_body(seed: int) -> None:
    p = bodies(seed)
    local = LAB_199.rotations_of(LAB_199.encode(p)[0])
    np.testing.assert_allclose(forward_kinematics(p[:, 0], local), p, atol=1e-5)


@given(seeds, angles)
def test_turned_and_mirrored_features_are_those_of_the_turned_and_mirrored_motion(seed: int, angle: float) -> None:
    p = bodies(seed)
    p[:, :, [0, 2]] -= p[0, 0, [0, 2]]
    features, _ = LAB_199.encode(p)
    np.testing.assert_allclose(LAB_199.rotate(features, angle), LAB_199.encode(p @ yaw(angle).T)[0], atol=1e-5)
    mirrored = LAB_199.encode(p[:, list(MIRROR)] * (-1, 1, 1))[0]
    np.testing.assert_allclose(LAB_199.mirror(features), mirrored, atol=1e-5)
    np.testing.assert_allclose(LAB_199.mirror(torch.from_numpy(features)).numpy(), LAB_199.mirror(features))
    np.testing.assert_array_equal(LAB_199.mirror(LAB_199.mirror(features)), features)


@given(seeds, angles)
def test_statistics_do_not_depend_on_the_axes(seed: int, angle: float) -> None:
    features, _ = LAB_199.encode(scattered(seed))
    for ours, theirs in zip(
        LAB_199.statistics(LAB_199.rotate(features, angle)), LAB_199.statistics(features), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-9)


@pytest.mark.parametrize("sense", [1, -1])
def test_a_heading_goes_on_through_half_a_turn(sense: int) -> None:
    headings = sense * np.linspace(2.9, 3.5, 13)
    features, _ = LAB_199.encode(turning(headings))
    np.testing.assert_allclose(features[1:, HEADING_VELOCITY], sense * 0.05 * 30, atol=1e-9)
    np.testing.assert_allclose(np.cumsum(features[:, HEADING_VELOCITY]) / 30, headings - headings[0], atol=1e-9)


def test_who_stands_still_has_no_velocities() -> None:
    features, _ = LAB_199.encode(turning(np.full(5, 3.1)))
    np.testing.assert_allclose(features[:, LAB_199.unknown_in_a_lone_pose], 0.0, atol=1e-12)
    np.testing.assert_allclose(features, features[[0] * 5], atol=1e-12)


def test_the_first_frame_has_the_velocity_from_the_frame_before_where_that_is_known() -> None:
    p = scattered(3)
    whole = LAB_199.encode(p)[0]
    assert not whole[0, LAB_199.unknown_in_a_lone_pose].any()
    crop, origin = LAB_199.encode(p[3:], previous=p[2, 0])
    known = [c for c in range(LAB_199.channels) if c != HEADING_VELOCITY]
    np.testing.assert_allclose(crop[:, known], whole[3:][:, known], atol=1e-9)
    assert crop[0, HEADING_VELOCITY] == 0
    np.testing.assert_allclose(LAB_199.decode(crop, None, origin), p[3:], atol=1e-9)


def test_a_lone_pose_determines_everything_but_the_velocities() -> None:
    p = bodies(5)
    whole, lone = LAB_199.encode(p)[0][1], LAB_199.encode(p[1:2])[0][0]
    known = np.setdiff1d(np.arange(LAB_199.channels), LAB_199.unknown_in_a_lone_pose)
    np.testing.assert_allclose(whole[known], lone[known], atol=1e-9)


@pytest.mark.parametrize("source", [ROOT_VELOCITY_66, ROOT_VELOCITY_70, LAB_199])
def test_any_representation_gives_the_default_one(source: object) -> None:
    p = bodies(7)
    features = source.encode(p)[0]  # type: ignore[attr-defined]
    expected = ROOT_VELOCITY_66.encode(p)[0]
    np.testing.assert_allclose(in_default(features, source)[:, :66], expected, atol=1e-9)  # type: ignore[arg-type]
    assert in_default(features.astype(np.float32)[None], source).dtype == np.float32  # type: ignore[arg-type]
    np.testing.assert_allclose(converted(expected, ROOT_VELOCITY_66, LAB_199), LAB_199.encode(p)[0], atol=1e-5)


def test_no_body_at_all_has_finite_features() -> None:
    features, _ = LAB_199.encode(np.zeros((4, 22, 3)))
    assert np.isfinite(features).all()
    assert not heading_velocity(np.zeros((4, 22, 3)), 30).any()
    assert (LAB_199.rotations_of(features) == np.eye(3)).all()
    assert features[:, ROTATIONS].any()


@pytest.mark.parametrize("key", ["05_05", "60_06", "135_07"])
def test_recorded_motion_is_inverted(key: str) -> None:
    """As it was recorded, and fitted to the canonical skeleton: by the joints, and by the rotations."""
    p = DataPack(data_pack()).recording(key).positions
    features, origin = LAB_199.encode(p, heading=0.7)
    np.testing.assert_allclose(LAB_199.decode(features, None, origin), p, atol=1e-5)
    rigid = fit(p).positions
    features, _ = LAB_199.encode(rigid)
    np.testing.assert_allclose(forward_kinematics(rigid[:, 0], LAB_199.rotations_of(features)), rigid, atol=1e-5)
