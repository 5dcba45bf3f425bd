"""Whether the studio paints a pose where a camera of one's own sees it."""

from typing import Any

import numpy as np
from browser import Browser

MAGENTA = (255, 0, 255)
NEAR = 1.5
"""Pixels by which the middle of a painted joint may be away from where the camera sees it."""


def projected(points: Any, camera: dict[str, float], centre: Any, width: int, height: int) -> np.ndarray:
    """Pixels (N, 2) of points (N, 3) as a camera with 32 degrees across the shorter side sees them."""
    yaw, pitch, distance = (camera[name] for name in ("yaw", "pitch", "distance"))
    back = np.array([np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)])
    right = np.array([np.cos(yaw), 0, -np.sin(yaw)])
    up = np.cross(back, right)
    seen = np.asarray(points) - (np.asarray(centre) + distance * back)
    focal = min(width, height) / 2 / np.tan(np.radians(16))
    across, along = focal * seen @ right / -(seen @ back), focal * seen @ up / -(seen @ back)
    return np.stack([width / 2 + across, height / 2 - along], axis=1)


def check_pose(page: Browser, joints: np.ndarray, time: float) -> None:
    """Every joint is painted where a camera of one's own sees it."""
    page.run("studio.player.pause(); studio.takes.showJoints = true; studio.player.seek(args[0]);", time)
    picture = page.canvas("#stage canvas").astype(int)
    camera = page.run("return {yaw: studio.camera.yaw, pitch: studio.camera.pitch, distance: studio.camera.distance};")
    centre = page.run("return studio.takes.take.dance.centre(args[0], studio.camera.follow);", time)
    height, width = picture.shape[:2]
    painted = np.abs(picture - MAGENTA).max(axis=2) < 40
    for x, y in projected(joints, camera, centre, width, height):
        assert 0 <= x < width
        assert 0 <= y < height
        rows, columns = np.mgrid[0:height, 0:width]
        disc = np.hypot(columns + 0.5 - x, rows + 0.5 - y) < 3.5 - NEAR
        assert painted[disc].all(), (x, y)
    expected = np.zeros_like(painted)
    for x, y in projected(joints, camera, centre, width, height):
        expected |= np.hypot(np.arange(width) + 0.5 - x, np.arange(height)[:, None] + 0.5 - y) < 3.5 + NEAR
    assert not (painted & ~expected).any()
