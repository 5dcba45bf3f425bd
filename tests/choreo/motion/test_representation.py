import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from second_representation import POSITIONS_AND_VELOCITIES

from choreo.errors import InvalidArtifact
from choreo.motion.representation import (
    ROOT_VELOCITY_66,
    SHORTEST,
    Origin,
    Representation,
    RootVelocity,
    decode,
    encode,
    register,
    representation,
)
from choreo.motion.rotations import yaw
from choreo.motion.skeleton import BONE_LENGTHS, MIRROR, PARENTS

seeds = st.integers(0, 2**32 - 1)
angles = st.floats(-4, 4)
representations = st.sampled_from([ROOT_VELOCITY_66, POSITIONS_AND_VELOCITIES])


def positions(seed: int, frames: int = 9) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(frames, 22, 3))


def centred(seed: int) -> np.ndarray:
    """Positions whose root starts at x = z = 0, which features alone describe."""
    p = positions(seed)
    p[:, :, [0, 2]] -= p[0, 0, [0, 2]]
    return p


@given(representations, seeds, angles, st.sampled_from([20.0, 30.0, 60.0]))
def test_decode_inverts_encode_exactly(r: Representation, seed: int, angle: float, fps: float) -> None:
    p = positions(seed)
    features, origin = r.encode(p, fps, angle)
    assert features.shape == (9, r.channels)
    np.testing.assert_allclose(r.decode(features, fps, origin), p, atol=1e-12)


def test_velocity_is_the_step_from_the_frame_before() -> None:
    p = positions(0)
    features, _ = encode(p, 30)
    assert (features[0, ROOT_VELOCITY_66.root_velocity] == 0).all()
    np.testing.assert_allclose(features[1:, 0], np.diff(p[:, 0, 0]) * 30)
    np.testing.assert_allclose(features[:, ROOT_VELOCITY_66.root_height], p[:, 0, 1:2])


def test_a_crop_keeps_its_first_velocity() -> None:
    p = positions(1)
    whole, _ = encode(p, 30)
    crop, origin = encode(p[3:], 30, previous=p[2, 0])
    np.testing.assert_allclose(crop, whole[3:], atol=1e-12)
    np.testing.assert_allclose(decode(crop, 30, origin), p[3:], atol=1e-12)


@given(representations, seeds, angles)
def test_rotating_features_turns_the_motion(r: Representation, seed: int, angle: float) -> None:
    p = centred(seed)
    features, _ = r.encode(p)
    np.testing.assert_allclose(r.decode(r.rotate(features, angle)), p @ yaw(angle).T, atol=1e-9)


@given(representations, seeds)
def test_mirroring_features_mirrors_the_motion(r: Representation, seed: int) -> None:
    p = centred(seed)
    features, _ = r.encode(p)
    reflected = p[:, list(MIRROR)] * (-1, 1, 1)
    np.testing.assert_allclose(r.decode(r.mirror(features)), reflected, atol=1e-12)
    np.testing.assert_allclose(r.mirror(features), r.encode(reflected)[0], atol=1e-12)


@given(representations, seeds)
def test_mirroring_twice_changes_nothing(r: Representation, seed: int) -> None:
    features = r.encode(positions(seed))[0].astype(np.float32)
    before = features.copy()
    twice = r.mirror(r.mirror(features))
    assert twice.dtype == np.float32
    np.testing.assert_array_equal(twice, features)
    np.testing.assert_array_equal(features, before)


@given(representations, seeds, angles)
def test_mirroring_reverses_the_sense_of_a_turn(r: Representation, seed: int, angle: float) -> None:
    features, _ = r.encode(positions(seed))
    np.testing.assert_allclose(r.mirror(r.rotate(features, angle)), r.rotate(r.mirror(features), -angle), atol=1e-9)


@given(representations, seeds)
def test_joints_height_and_velocity_are_read_from_arrays_and_tensors_alike(r: Representation, seed: int) -> None:
    p = centred(seed)
    features, _ = r.encode(p)
    tensor = torch.from_numpy(features)[None]
    expected = (
        (r.joints_of, p[:, 1:] - p[:, :1]),
        (r.root_height_of, p[:, 0, 1]),
        (r.root_velocity_of, np.diff(p[:, 0], axis=0, prepend=p[:1, 0])[:, [0, 2]] * r.fps),
    )
    for read, values in expected:
        np.testing.assert_allclose(read(features), values, atol=1e-12)
        np.testing.assert_array_equal(read(tensor)[0].numpy(), read(features))
    np.testing.assert_array_equal(r.mirror(tensor)[0].numpy(), r.mirror(features))


@given(representations, seeds, angles)
def test_statistics_do_not_depend_on_the_axes(r: Representation, seed: int, angle: float) -> None:
    features, _ = r.encode(positions(seed))
    mean, std = r.statistics(features)
    assert (std > 0).all()
    for x, z in r.horizontal:
        assert mean[x] == mean[z] == 0
        assert std[x] == std[z]
    for ours, theirs in zip(r.statistics(r.rotate(features, angle)), (mean, std), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-9)


@pytest.mark.parametrize("r", [ROOT_VELOCITY_66, POSITIONS_AND_VELOCITIES])
def test_a_lone_pose_determines_everything_but_the_velocities(r: Representation) -> None:
    whole, lone = r.encode(centred(0))[0][1], r.encode(positions(0)[1:2])[0][0]
    unknown = np.zeros(r.channels, bool)
    unknown[r.unknown_in_a_lone_pose] = True
    assert not lone[unknown].any()
    assert whole[unknown].all()
    if r is ROOT_VELOCITY_66:
        np.testing.assert_allclose(whole[~unknown], lone[~unknown])


def test_a_heading_becomes_the_new_forward() -> None:
    p = centred(2)
    turned, _ = encode(p @ yaw(0.8).T, heading=0.8)
    np.testing.assert_allclose(turned, encode(p)[0], atol=1e-12)
    assert encode(p, heading=0.8)[1] == Origin(heading=0.8)


def test_representations_are_found_by_name_and_cannot_change() -> None:
    assert representation("root-velocity-66") is ROOT_VELOCITY_66
    with pytest.raises(InvalidArtifact, match="unknown representation 'smpl-135'; known are root-velocity-66"):
        representation("smpl-135")
    with pytest.raises(dataclasses.FrozenInstanceError):
        ROOT_VELOCITY_66.fps = 60  # type: ignore[misc]


def test_another_representation_can_be_registered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("choreo.motion.representation._REPRESENTATIONS", {ROOT_VELOCITY_66.name: ROOT_VELOCITY_66})
    register(POSITIONS_AND_VELOCITIES)
    register(POSITIONS_AND_VELOCITIES)
    assert representation("positions-and-velocities-132") is POSITIONS_AND_VELOCITIES
    fields = {f.name: getattr(ROOT_VELOCITY_66, f.name) for f in dataclasses.fields(ROOT_VELOCITY_66)}
    with pytest.raises(ValueError, match="another representation 'root-velocity-66'"):
        register(RootVelocity(**fields))


def bones(r: Representation, features: np.ndarray) -> np.ndarray:
    joints = np.concatenate([np.zeros((len(features), 1, 3)), r.joints_of(features)], axis=1)
    return joints[:, 1:] - joints[:, list(PARENTS[1:])]


def test_full_bones_keep_their_directions_and_everything_else() -> None:
    features = np.random.default_rng(0).normal(size=(20, ROOT_VELOCITY_66.channels))
    full = ROOT_VELOCITY_66.full_bones(features)
    was, now = bones(ROOT_VELOCITY_66, features), bones(ROOT_VELOCITY_66, full)
    np.testing.assert_allclose(np.linalg.norm(now, axis=-1), np.broadcast_to(BONE_LENGTHS[1:], now.shape[:2]))
    np.testing.assert_allclose(np.cross(was, now), 0, atol=1e-9)
    np.testing.assert_array_equal(full[:, :3], features[:, :3])


def test_a_bone_that_is_next_to_nothing_stays_short() -> None:
    features, _ = encode(centred(0))
    joints = ROOT_VELOCITY_66.joints_of(features).copy()
    joints[:, 19] = joints[:, 17] + [0.01, 0.0, 0.0]  # the left wrist, at the left elbow
    features[:, ROOT_VELOCITY_66.joints] = joints.reshape(len(joints), -1)
    forearm = np.linalg.norm(bones(ROOT_VELOCITY_66, ROOT_VELOCITY_66.full_bones(features))[:, 19], axis=-1)
    np.testing.assert_allclose(forearm, 0.01 / SHORTEST)


def test_a_representation_without_full_bones_returns_what_it_was_given() -> None:
    features = np.random.default_rng(0).normal(size=(5, POSITIONS_AND_VELOCITIES.channels))
    np.testing.assert_array_equal(POSITIONS_AND_VELOCITIES.full_bones(features), features)
