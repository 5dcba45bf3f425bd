"""The camera that follows: dancers are large, in the picture, and the camera is calm."""

import numpy as np
import pytest
from numpy.typing import NDArray

from choreo.errors import InvalidInput
from choreo.motion.clip import Motion
from choreo.motion.formats.camera import Camera, frame_dancers
from choreo.motion.formats.preview import Painter
from choreo.motion.formats.view import View
from choreo.motion.kinematics import forward_kinematics
from choreo.motion.rotations import yaw

FPS = 30
SIZES = [(640, 640), (854, 480)]


def standing(path: NDArray[np.float64]) -> NDArray[np.float64]:
    """A dancer in T pose (T, 22, 3) whose pelvis is above a path (T, 2) on the floor."""
    root = np.stack([path[:, 0], np.full(len(path), 0.95), path[:, 1]], axis=1)
    return forward_kinematics(root, np.broadcast_to(np.eye(3), (len(path), 22, 3, 3)))


def paths() -> dict[str, NDArray[np.float64]]:
    """Paths (T, 2), metres."""
    t = np.arange(0, 60, 1 / FPS)
    short = np.arange(0, 6.5, 1 / FPS)
    walk = np.cumsum(np.random.default_rng(0).normal(0, 0.04, (len(t), 2)), axis=0)
    return {
        "a straight line": np.stack([7 * t / 60, 6 * t / 60], axis=1),
        "towards the camera and back": np.stack([0 * t, 4 * np.sin(2 * np.pi * t / 20)], axis=1),
        "a circle": 3 * np.stack([np.sin(2 * np.pi * t / 8), np.cos(2 * np.pi * t / 8)], axis=1),
        "a run": np.stack([4.0 * short, 0 * short], axis=1),
        "to and fro": np.stack([2 * np.sin(2 * np.pi * t / 4), 0 * t], axis=1),
        "a random walk": walk,
        "a jump": np.stack([np.where(t < 30, 0.0, 9.0), 0 * t], axis=1),
        "on the spot": np.zeros((len(t), 2)),
    }


def heights(camera: Camera, positions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Height (T,) of the dancer in every frame, as a share of the picture's."""
    pixels, _ = camera.project(positions)
    assert (pixels > 0).all()
    assert (pixels < camera.size).all()
    return np.ptp(pixels[..., 1], axis=1) / camera.size[1]


LEAPS = ("a jump",)
"""Faster than a dancer is, as in takes that were joined."""


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", [name for name in paths() if name not in LEAPS])
@pytest.mark.parametrize("angle", [0.0, 2.0])
def test_a_dancer_is_a_third_of_the_picture_however_far_the_dance_goes(
    name: str, size: tuple[int, int], angle: float
) -> None:
    positions = standing(paths()[name]) @ yaw(angle).T
    assert heights(frame_dancers(positions[None], size), positions).min() > 1 / 3


@pytest.mark.parametrize("name", LEAPS)
def test_a_dancer_who_leaps_stays_in_the_picture(name: str) -> None:
    positions = standing(paths()[name])
    assert heights(frame_dancers(positions[None]), positions).max() > 1 / 3


@pytest.mark.parametrize("name", [name for name in paths() if name not in LEAPS])
def test_the_camera_is_calm_and_level(name: str) -> None:
    positions = standing(paths()[name])
    noisy = positions + np.random.default_rng(1).normal(0, 0.02, (len(positions), 1, 3))
    camera = frame_dancers(noisy[None])
    assert camera.axes[0, 1] == pytest.approx(0)
    eye = np.broadcast_to(camera.eye, (len(positions), 3))
    speed = np.diff(eye, axis=0) * FPS
    dancer = np.diff(positions[:, 0], axis=0) * FPS
    assert np.linalg.norm(speed, axis=1).max() <= 1.5 * np.linalg.norm(dancer, axis=1).max() + 0.1
    shaking = np.abs(np.diff(speed, axis=0)).max() * FPS
    assert shaking < 0.2 * np.abs(np.diff(noisy[:, 0], n=2, axis=0)).max() * FPS**2
    assert np.ptp(eye[:, 1]) < 1.0


def test_a_dance_on_the_spot_has_a_camera_that_stands_still() -> None:
    assert frame_dancers(standing(np.zeros((300, 2)))[None]).eye.shape == (3,)


def test_a_fixed_camera_stands_still_and_sees_all() -> None:
    positions = standing(paths()["a straight line"])
    camera = frame_dancers(positions[None], view=View.FIXED)
    assert camera.eye.shape == (3,)
    assert heights(camera, positions).min() < 0.25


@pytest.mark.parametrize("size", SIZES)
def test_several_dancers_stay_in_the_picture(size: tuple[int, int]) -> None:
    t = np.arange(0, 40, 1 / FPS)
    path = np.stack([0.2 * t, 0.1 * t], axis=1)
    apart = np.stack([1 + 2.5 * np.exp(-(((t - 20) / 3) ** 2)), 0 * t], axis=1)
    positions = np.stack([standing(path), standing(path + apart), standing(path - apart)])
    camera = frame_dancers(positions, size)
    pixels, _ = camera.project(positions)
    assert (pixels > 0).all()
    assert (pixels < size).all()
    tall = np.ptp(pixels[..., 1], axis=2).min(axis=0) / size[1]
    assert tall[:150].min() > 1.5 * tall[600]  # it withdraws only while they are apart


def test_travel_is_seen_against_the_floor() -> None:
    positions = standing(paths()["a straight line"]).astype(np.float32)
    painter = Painter(Motion(positions))
    one, other = (np.asarray(painter.paint(i)).astype(int) for i in (100, 115))
    corner = np.s_[560:, :120]  # floor, and no dancer
    assert np.abs(one[corner] - other[corner]).max() > 20
    again = np.asarray(painter.paint(100)).astype(int)
    np.testing.assert_array_equal(one, again)


def test_views_have_names() -> None:
    assert View.named("fixed") is View.FIXED
    with pytest.raises(InvalidInput, match="must be one of follow, fixed, got 'drone'") as error:
        View.named("drone")
    assert error.value.field == "camera"
