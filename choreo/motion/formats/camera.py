"""A perspective camera for a performance: it follows the dancers, or stands where it sees all of their path.

A camera that follows keeps its direction and moves along a smooth path, so that the horizon stays level and travel is
seen against the floor. Where the dancers can be shown large enough without moving it, it stands still.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, maximum_filter1d

from choreo.motion import kinematics
from choreo.motion import rotations as rot
from choreo.motion.formats.view import View
from choreo.motion.skeleton import FPS, PELVIS

Array = NDArray[np.float64]

FIELD_OF_VIEW: Final = np.radians(32.0)
"""Across the shorter side of the image."""
PITCH: Final = np.radians(13.0)
"""How far the camera looks down."""
SIDES: Final = np.radians([20, -20, 32, -32, 44, -44])
"""Azimuths of the candidate views relative to the front of the scene; the one closest to the dancers is taken."""
MARGIN: Final = (0.86, 0.80)
"""Share of the image's width and height that the motion may fill."""
BODY_RADIUS: Final = 0.12
"""Margin around each joint for the body's volume, metres."""
MIN_DISTANCE: Final = 2.5
"""Smallest distance of the camera from the middle of the scene, metres."""
STANDING: Final = 1.5
"""Height of the joints of a standing dancer, metres."""
LARGE_ENOUGH: Final = 0.42
"""Share of the image's height that a standing dancer should fill."""
CROWDED: Final = 1.1
"""Where that cannot be, the camera may stand this many times as far away as it must."""
SMOOTHING: Final = (4.0, 2.0, 1.0, 0.5, 0.25)
"""Standard deviations, seconds, of the Gaussian that smooths the path; the first that shows dancers large is taken."""
MIN_SMOOTHING_OF_HEIGHT: Final = 1.0
"""The same of the camera's height, at least: it does not jump when the dancer does."""
ZOOM_SECONDS: Final = 3.0
"""How long before it must the camera begins to withdraw, and how long after that it comes nearer."""
BLOCK: Final = 4096
"""Frames at a time, of films of an hour and several dancers."""
MOST_FRAMES: Final = 2000
"""Frames by which the side of the view is chosen."""


@dataclass(frozen=True)
class Camera:
    """Pinhole camera.

    Attributes:
        eye: (3,) position, metres; of a moving camera (T, 3).
        axes: (3, 3) unit rows: image right, image down, viewing direction.
        focal: focal length in pixels.
        size: image width and height in pixels.
    """

    eye: Array
    axes: Array
    focal: float
    size: tuple[int, int]

    def at(self, index: int) -> "Camera":
        """The camera of one frame."""
        return self if self.eye.ndim == 1 else Camera(self.eye[index], self.axes, self.focal, self.size)

    def project(self, points: NDArray[np.floating]) -> tuple[Array, Array]:
        """Pixels (..., 2) and depths (...) in metres of points (..., 3); (..., T, J, 3) of a moving camera."""
        eye = self.eye if self.eye.ndim == 1 else self.eye[:, None]
        seen = (np.asarray(points, np.float64) - eye) @ self.axes.T
        depth = np.maximum(seen[..., 2], 1e-2)
        centre = np.array(self.size) / 2
        return centre + self.focal * seen[..., :2] / depth[..., None], depth


def frame_dancers(
    positions: NDArray[np.floating], size: tuple[int, int] = (640, 640), view: View = View.FOLLOW, fps: float = FPS
) -> Camera:
    """Camera at the front of the scene, slightly above and to the side, that sees all dancers in every frame.

    Args:
        positions: (N, T, 22, 3) metres.
        size: image width and height in pixels.
        view: whether the camera may move.
        fps: frames per second.
    """
    positions = np.asarray(positions, np.float64)
    fewer = positions[:, :: -(-positions.shape[1] // MOST_FRAMES)]
    front, points = _front(positions), _outline(fewer)
    centre = (points.min(0) + points.max(0)) / 2
    azimuth = min(
        (front + side for side in SIDES),
        key=lambda angle: float(np.linalg.norm(_fit_view(points, angle, size).eye - centre)),
    )
    fixed = _fit_view(_outline(positions), azimuth, size)
    return fixed if view is View.FIXED else _following(positions, fixed, fps)


def _following(positions: Array, fixed: Camera, fps: float) -> Camera:
    """The calmest camera with the direction of a fixed one that shows the dancers large enough; (N, T, 22, 3)."""
    half = np.array(fixed.size) / 2 * MARGIN
    floor = positions[:, :, :1] * (1, 0, 1)
    joints = (np.concatenate([positions, floor], axis=2) @ fixed.axes.T).transpose(1, 0, 2, 3)
    pelvis, seen = joints[:, :, PELVIS], joints.reshape(len(joints), -1, 3)  # (T, N, 3), (T, M, 3)
    middle = (pelvis.min(axis=1) + pelvis.max(axis=1)) / 2
    middle[:, 1] = (seen[..., 1].min(axis=1) + seen[..., 1].max(axis=1)) / 2
    # As far away as it must be if it could jump to the middle in every frame.
    least = _smooth_maximum(_needed(seen, middle, fixed.focal, half), fps)
    most = np.maximum(least * CROWDED, fixed.focal * STANDING / (LARGE_ENOUGH * fixed.size[1]))
    eye = fixed.eye @ fixed.axes.T
    if (_depth(seen, eye) <= most).all():
        return fixed
    for seconds in SMOOTHING:
        aim = _smooth(middle, seconds * fps)
        aim[:, 1] = _smooth(middle[:, 1], max(seconds, MIN_SMOOTHING_OF_HEIGHT) * fps)
        distance = _smooth_maximum(_needed(seen, aim, fixed.focal, half), fps)
        if (distance <= most).all():
            break
    aim[:, 2] -= distance
    return Camera(aim @ fixed.axes, fixed.axes, fixed.focal, fixed.size)


def _depth(seen: Array, eye: Array) -> Array:
    """How far (T,) the middle of the points (T, M, 3) lies in front of an eye (3,), in a camera's axes."""
    return np.asarray((seen[..., 2].min(axis=1) + seen[..., 2].max(axis=1)) / 2 - eye[2])


def _needed(seen: Array, aim: Array, focal: float, half: Array) -> Array:
    """How far (T,) behind an aim (T, 3) the camera must stand to see points (T, M, 3), all in its axes."""
    out = np.empty(len(seen))
    for first in range(0, len(seen), BLOCK):
        block = slice(first, first + BLOCK)
        apart = seen[block] - aim[block, None]
        out[block] = ((np.abs(apart[..., :2]) + BODY_RADIUS) * focal / half - apart[..., 2:]).max(axis=(1, 2))
    return np.maximum(out, MIN_DISTANCE)


def _smooth(path: Array, frames: float) -> Array:
    return np.asarray(gaussian_filter1d(path, frames, axis=0, mode="nearest"))


def _smooth_maximum(values: Array, fps: float) -> Array:
    """Values (T,) smoothed from above: nowhere less than what they were.

    The maximum within a radius, then a mean with weights within the same radius, of which each value is at least it.
    """
    radius = max(1, round(ZOOM_SECONDS * fps))
    upper = maximum_filter1d(values, 2 * radius + 1, mode="nearest")
    return np.asarray(gaussian_filter1d(upper, radius / 3, mode="nearest", radius=radius))


def _outline(positions: Array) -> Array:
    """Joints of (N, T, 22, 3) and the floor below the pelvis as points (M, 3), in whole centimetres."""
    joints = positions.reshape(-1, *positions.shape[2:])
    floor = joints[:, :1] * (1, 0, 1)
    return np.unique(np.concatenate([joints, floor], axis=1).reshape(-1, 3).round(2), axis=0)


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
