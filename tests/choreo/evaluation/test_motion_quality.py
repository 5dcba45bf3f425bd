"""Jerk and jitter, kinetic energy, dynamic degree, bone lengths."""

import numpy as np
import pytest

from choreo.evaluation.kinematics import bone_length_deviation, dynamic_degree, jerk, jitter, kinetic_energy
from choreo.motion.kinematics import forward_kinematics


def along_x(path: np.ndarray) -> np.ndarray:
    positions = np.zeros((len(path), 22, 3))
    positions[..., 0] = path[:, None]
    return positions


@pytest.mark.parametrize("fps", [30.0, 60.0])
def test_jerk_of_a_cubic_is_six(fps: float) -> None:
    assert jerk(along_x((np.arange(20) / fps) ** 3), fps) == pytest.approx(6)
    assert jitter(along_x((np.arange(20) / fps) ** 3), fps) == pytest.approx(0.6)


@pytest.mark.parametrize("fps", [30.0, 60.0])
def test_dynamic_degree_adds_speed_in_the_room_and_speed_around_the_pelvis(fps: float) -> None:
    together = along_x(np.arange(20) / fps * 3)
    assert dynamic_degree(together, fps) == pytest.approx(3)
    hand = np.zeros((20, 22, 3))
    hand[:, 20, 2] = np.arange(20) / fps * 3
    assert dynamic_degree(hand, fps) == pytest.approx(2 * 3 / 22)
    assert dynamic_degree(hand + together, fps) == pytest.approx(3 * (21 + 2**0.5) / 22 + 3 / 22)


@pytest.mark.parametrize("fps", [30.0, 60.0])
def test_energy_of_even_motion_is_half_its_speed_squared(fps: float) -> None:
    assert kinetic_energy(along_x(np.arange(20) / fps * 3), fps) == pytest.approx(4.5)


def test_still_and_short_clips_have_neither() -> None:
    for frames in range(1, 5):
        still = along_x(np.full(frames, 2.0))
        assert jerk(still) == jitter(still) == kinetic_energy(still) == dynamic_degree(still) == 0
    assert jerk(along_x(np.arange(3.0) ** 3)) == 0


def test_canonical_bones_do_not_deviate_and_scaled_ones_do() -> None:
    rest = forward_kinematics(np.zeros((2, 3)), np.broadcast_to(np.eye(3), (2, 22, 3, 3)))
    assert bone_length_deviation(rest) < 1e-12
    assert bone_length_deviation(rest * 1.03) == pytest.approx(0.03)
    assert bone_length_deviation(rest * 0.97) == pytest.approx(0.03)
