import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from choreo.motion.representation import CHANNELS, Origin, decode, encode, rotate
from choreo.motion.rotations import yaw

seeds = st.integers(0, 2**32 - 1)


def positions(seed: int, frames: int = 9) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(frames, 22, 3))


@given(seeds, st.floats(-4, 4), st.sampled_from([20.0, 30.0, 60.0]))
def test_decode_inverts_encode_exactly(seed: int, angle: float, fps: float) -> None:
    p = positions(seed)
    features, origin = encode(p, fps, angle)
    assert features.shape == (9, CHANNELS)
    np.testing.assert_allclose(decode(features, fps, origin), p, atol=1e-12)


def test_velocity_is_the_step_from_the_frame_before() -> None:
    p = positions(0)
    features, _ = encode(p, 30)
    assert (features[0, :2] == 0).all()
    np.testing.assert_allclose(features[1:, 0], np.diff(p[:, 0, 0]) * 30)
    np.testing.assert_allclose(features[:, 2], p[:, 0, 1])


def test_a_crop_keeps_its_first_velocity() -> None:
    p = positions(1)
    whole, _ = encode(p, 30)
    crop, origin = encode(p[3:], 30, previous=p[2, 0])
    np.testing.assert_allclose(crop, whole[3:], atol=1e-12)
    np.testing.assert_allclose(decode(crop, 30, origin), p[3:], atol=1e-12)


@given(seeds, st.floats(-4, 4))
def test_turning_features_turns_the_motion(seed: int, angle: float) -> None:
    p = positions(seed)
    p[:, :, [0, 2]] -= p[0, 0, [0, 2]]
    features, _ = encode(p)
    np.testing.assert_allclose(decode(rotate(features, angle), origin=Origin()), p @ yaw(angle).T, atol=1e-9)


def test_a_heading_becomes_the_new_forward() -> None:
    p = positions(2)
    p[:, :, [0, 2]] -= p[0, 0, [0, 2]]
    turned, _ = encode(p @ yaw(0.8).T, heading=0.8)
    np.testing.assert_allclose(turned, encode(p)[0], atol=1e-12)
