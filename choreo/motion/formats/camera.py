"""A fixed perspective camera that keeps every dancer in view for the whole clip."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from choreo.motion import kinematics
from choreo.motion import rotations as rot
from choreo.motion.skeleton import PELVIS

Array = NDArray[np.float64]

FIELD_OF_VIEW = np.radians(32.0)
"""Across the shorter side of the image."""
PITCH = np.radians(13.0)
"""How far the camera looks down."""
SIDES = np.radians([20, -20, 32, -32, 44, -44])
"""Azimuths of the candidate views relative to the front of the scene; the one closest to the dancers is taken."""
MARGIN = (0.86, 0.80)
"""Share of the image's width and height that the motion may fill."""
BODY_RADIUS = 0.12
"""Margin around each joint for the body's volume, metres."""
MIN_DISTANCE = 2.5
"""Smallest distance of the camera from the middle of the scene, metres."""


@dataclass(frozen=True)
class Camera:
    """Pinhole camera.

    Attributes:
        eye: (3,) position, metres.
        axes: (3, 3) unit rows: image right, image down, viewing direction.
        focal: focal length in pixels.
        size: image width and height in pixels.
    """

    eye: Array
    axes: Array
    focal: float
    size: tuple[int, int]

    def project(self, points: NDArray[np.floating]) -> tuple[Array, Array]:
        """Pixels (..., 2) and depths (...) in metres of points (..., 3)."""
        seen = (np.asarray(points, np.float64) - self.eye) @ self.axes.T
        depth = np.maximum(seen[..., 2], 1e-2)
        centre = np.array(self.size) / 2
        return centre + self.focal * seen[..., :2] / depth[..., None], depth


def frame_dancers(positions: NDArray[np.floating], size: tuple[int, int] = (640, 640)) -> Camera:
    """Camera at the front of the scene, slightly above and to the side, that sees all of positions (N, T, 22, 3)."""
    positions = np.asarray(positions, np.float64)
    joints = positions.reshape(-1, *positions.shape[2:])
    floor = joints[:, :1] * (1, 0, 1)
    points = np.unique(np.concatenate([joints, floor], axis=1).reshape(-1, 3).round(2), axis=0)
    front = _front(positions)
    views = [_fit_view(points, front + side, size) for side in SIDES]
    centre = (points.min(0) + points.max(0)) / 2
    return min(views, key=lambda view: float(np.linalg.norm(view.eye - centre)))


def _front(positions: Array) -> float:
    """Azimuth of the scene's front, radians from +z.

    For one dancer it is where the first pose faces. Several are seen broadside, at right angles to the horizontal
    direction in which they are spread most over the clip, so that they hide one another least; of the two broadsides it
    is the one that more of them face at first.
    """
    facing = kinematics.heading(positions[:, 0])
    if len(positions) == 1:
        return float(facing[0])
    pelvis = positions[:, :, PELVIS][..., [0, 2]]
    apart = (pelvis - pelvis.mean(axis=0)).reshape(-1, 2)
    x, z = np.linalg.eigh(apart.T @ apart)[1][:, 0]  # the direction of least spread
    towards = x * np.sin(facing).sum() + z * np.cos(facing).sum()
    return float(np.arctan2(x, z)) + (np.pi if towards < 0 else 0.0)


def _fit_view(points: Array, azimuth: float, size: tuple[int, int]) -> Camera:
    """Nearest camera at an azimuth, radians from +z, that has points (M, 3) within the margins."""
    back = np.array([np.sin(azimuth) * np.cos(PITCH), np.sin(PITCH), np.cos(azimuth) * np.cos(PITCH)])
    right = rot.normalize(np.cross(-back, [0.0, 1.0, 0.0]))
    axes = np.stack([right, np.cross(-back, right), -back])
    focal = min(size) / 2 / np.tan(FIELD_OF_VIEW / 2)
    half = np.array(size) / 2 * MARGIN
    aim = (points.min(0) + points.max(0)) / 2
    for _ in range(4):  # perspective shifts the outline against the box's centre: aim again at its middle
        seen, distance = _distance(points, aim, axes, focal, half)
        outline = seen[:, :2] / (seen[:, 2:] + distance)
        aim = aim + (outline.min(0) + outline.max(0)) / 2 * distance @ axes[:2]
    _, distance = _distance(points, aim, axes, focal, half)
    return Camera(aim + back * distance, axes, float(focal), size)


def _distance(points: Array, aim: Array, axes: Array, focal: float, half: Array) -> tuple[Array, float]:
    """Points in the camera's axes about `aim`, and how far back the camera must stand to see them all."""
    seen = (points - aim) @ axes.T
    needed = (np.abs(seen[:, :2]) + BODY_RADIUS) * focal / half - seen[:, 2:]
    return seen, max(float(needed.max()), MIN_DISTANCE)
