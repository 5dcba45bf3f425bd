"""Kinetic features."""

import numpy as np
import pytest

from choreo.errors import InvalidInput
from choreo.evaluation.kinetic_features import kinetic_features, with_hands


def along(axis: int, path: np.ndarray) -> np.ndarray:
    positions = np.zeros((len(path), 22, 3))
    positions[..., axis] = path[:, None]
    return positions


def wandering(frames: int, joints: int = 22) -> np.ndarray:
    return np.cumsum(np.random.default_rng(frames).standard_normal((frames, joints, 3)), axis=0) * 0.02


def by_loops(p: np.ndarray, legacy: bool) -> np.ndarray:
    """The definition, frame by frame, at 60 fps."""
    out, dt = [], 1 / 60
    for joint in range(p.shape[1]):
        x, energy = p[:, joint], np.zeros(3)
        for i in range(1, len(x)):
            near = range(i - 2, i + 3)
            steps = [x[k] - x[k - 1] for k in near if 1 <= k < len(x)]
            v = np.mean(steps, axis=0) / dt
            a = []
            for k in (k for k in near if 1 <= k < len(x) - 1):
                before = x[k] - x[k - 1] / dt if legacy else (x[k] - x[k - 1]) / dt
                a.append(((x[k + 1] - x[k]) / dt - before) / dt)
            energy += (v[0] ** 2 + v[2] ** 2, v[1] ** 2, np.linalg.norm(np.mean(a, axis=0)) if a else 0)
        out.extend(energy / (len(x) - 1))
    return np.array(out)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("frames", [3, 4, 7, 30])
@pytest.mark.parametrize("joints", [22, 24])
def test_it_is_the_definition(frames: int, joints: int, legacy: bool) -> None:
    p = wandering(frames, joints)
    p -= p[0, 0]
    np.testing.assert_allclose(kinetic_features(p, 60, legacy), by_loops(p, legacy), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("fps", [20.0, 30.0, 60.0, 120.0])
def test_even_motion_has_its_speed_squared_and_no_expenditure(fps: float) -> None:
    path = np.arange(60) / fps * 3
    flat = kinetic_features(along(0, path), fps).reshape(22, 3)
    np.testing.assert_allclose(flat, [[9, 0, 0]] * 22, atol=1e-6)
    upwards = kinetic_features(along(1, path), fps).reshape(22, 3)
    np.testing.assert_allclose(upwards, [[0, 9, 0]] * 22, atol=1e-6)


@pytest.mark.parametrize("fps", [20.0, 30.0, 60.0])
def test_even_acceleration_is_the_expenditure_at_any_rate(fps: float) -> None:
    path = 0.5 * 8.6 * (np.arange(90) / fps) ** 2
    found = kinetic_features(along(2, path), fps).reshape(22, 3)[:, 2]
    np.testing.assert_allclose(found, 8.6, rtol=1e-3)


def test_a_swing_at_30_fps_has_the_features_it_has_at_60() -> None:
    at = {fps: along(0, 0.3 * np.sin(2 * np.pi * np.arange(fps * 4) / fps)) for fps in (30, 60)}
    np.testing.assert_allclose(kinetic_features(at[30], 30), kinetic_features(at[60], 60), rtol=0.02)


def test_the_published_mistake_is_orders_of_magnitude_larger_and_grows_with_travel() -> None:
    walk = along(0, np.arange(120) / 60)
    assert kinetic_features(walk, 60).reshape(22, 3)[0, 2] == pytest.approx(0, abs=1e-6)
    near = kinetic_features(walk, 60, legacy=True).reshape(22, 3)[0, 2]
    far = kinetic_features(walk + 10, 60, legacy=True).reshape(22, 3)[0, 2]
    assert near > 1000
    assert far == pytest.approx(near)  # the published scores start every motion at the origin


def test_hands_go_where_the_wrists_are() -> None:
    p = with_hands(wandering(20))
    assert p.shape == (20, 24, 3)
    np.testing.assert_array_equal(p[:, 22:], p[:, 20:22])
    features = kinetic_features(p).reshape(24, 3)
    assert features.size == 72
    np.testing.assert_array_equal(features[22:], features[20:22])
    assert with_hands(p).shape == p.shape


def test_two_frames_are_enough_and_one_is_not() -> None:
    assert np.isfinite(kinetic_features(wandering(2))).all()
    with pytest.raises(InvalidInput):
        kinetic_features(wandering(1))
    for bad in (np.full((9, 24, 3), np.nan), np.ones((9, 23, 3)), np.ones((9, 22))):
        with pytest.raises(InvalidInput):
            kinetic_features(bad)
    with pytest.raises(InvalidInput) as caught:
        kinetic_features(wandering(9), fps=0)
    assert caught.value.field == "fps"
