"""Sky and floor of a film: a grid that fades away from the dancers, computed per pixel for wherever the camera is."""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from choreo.motion.formats.camera import Camera

Array = NDArray[np.float64]
Pixels = NDArray[np.float32]

SKY: Final = np.array([24.0, 26.0, 34.0], np.float32)
FLOOR: Final = np.array([52.0, 56.0, 70.0], np.float32)
GRID: Final = np.array([120.0, 128.0, 150.0], np.float32)
GRID_STEP: Final = 0.5
"""Distance between grid lines, metres."""
LINE: Final = 1.2
"""Width of a line at every distance, pixels: smooth near and far."""
FADE: Final = 0.62
"""Distance from the centre, in units of the camera's, at which the floor has faded to 1 / e."""
LEAST_FADE: Final = 1e-3
"""Floor that is fainter than this is not drawn."""


class Stage:
    """The background of every frame.

    The camera never turns and its horizon is level, so that what a pixel sees of the floor only shifts and grows with
    the camera's place: it is computed once for an eye at the origin, one metre above the floor.

    Args:
        camera: of the film.
        centre: (3,) middle of the dancers, metres; of a moving camera (T, 3).
    """

    def __init__(self, camera: Camera, centre: Array) -> None:
        width, height = camera.size
        x, y = np.meshgrid(np.arange(width) + 0.5 - width / 2, np.arange(height) + 0.5 - height / 2)
        rays = np.stack([x / camera.focal, y / camera.focal, np.ones_like(x)], -1) @ camera.axes
        self._camera, self._centre = camera, centre
        self._first = int(np.argmax(rays[:, 0, 1] < -1e-4)) if rays[-1, 0, 1] < -1e-4 else height
        below = rays[self._first :]
        seen = np.moveaxis(below[..., [0, 2]] / -below[..., 1:2], -1, 0)  # (2, rows, width)
        self._seen: Pixels = np.ascontiguousarray(seen, np.float32)
        along = [np.gradient(seen, axis=axis) if seen.shape[1] > 1 else np.zeros_like(seen) for axis in (1, 2)]
        self._footprint: Pixels = np.hypot(*along).astype(np.float32)
        shade = 1.0 + 0.25 * (1 - (np.arange(height, dtype=np.float32) + 0.5) / height)
        self._sky: Pixels = SKY * shade[:, None]
        self._empty = np.repeat(self._sky[:, None].round().astype(np.uint8), width, axis=1)
        self._last: tuple[bytes, Image.Image] | None = None

    def paint(self, index: int) -> Image.Image:
        """The background of frame `index`, a new RGB image."""
        eye = self._camera.at(index).eye
        centre = self._centre if self._centre.ndim == 1 else self._centre[index]
        place = np.concatenate([eye, centre]).tobytes()
        if self._last is None or self._last[0] != place:
            self._last = place, self._painted(eye, centre)
        return self._last[1].copy()

    def _painted(self, eye: Array, centre: Array) -> Image.Image:
        image = self._empty.copy()
        fade = self._fade(eye, centre)
        lit = np.flatnonzero(fade.max(axis=1, initial=0.0) > LEAST_FADE)
        if len(lit) and eye[1] > 0:
            rows = slice(int(lit[0]), int(lit[-1]) + 1)
            fade, below = fade[rows], slice(self._first + rows.start, self._first + rows.stop)
            line = self._lines(eye, rows)
            line *= np.float32(0.55)
            line *= fade
            for channel in range(3):  # the result lies between the colours, so nothing need be cut
                colour = fade * (FLOOR - SKY)[channel]
                colour += line * (GRID - FLOOR)[channel]
                colour += self._sky[below, channel, None] + np.float32(0.5)
                image[below, :, channel] = colour
        return Image.fromarray(image, "RGB")

    def _fade(self, eye: Array, centre: Array) -> Pixels:
        """How much of the floor is seen in the rows below the horizon, 0 to 1."""
        ground = (eye - centre)[[0, 2], None, None].astype(np.float32)
        off = self._seen * np.float32(eye[1])
        off += ground
        off *= off
        scale = np.float32(-1 / (FADE * max(float(np.linalg.norm(eye - centre)), 1e-6)) ** 2)
        return np.asarray(np.exp((off[0] + off[1]) * scale))

    def _lines(self, eye: Array, rows: slice) -> Pixels:
        """How much of a grid line each pixel holds, 0 to 1."""
        high = np.float32(eye[1] / GRID_STEP)
        # Only where it lies between two lines counts, and float32 would not hold that far from the origin.
        at = self._seen[:, rows] * high
        at += (eye[[0, 2], None, None] / GRID_STEP % 1).astype(np.float32)
        at -= np.rint(at)
        np.abs(at, out=at)
        footprint = self._footprint[:, rows] * high
        footprint += np.float32(1e-9)
        at /= footprint
        line = np.clip(np.float32(LINE) - at, 0, 1)
        footprint *= np.float32(-3)
        line *= np.clip(np.float32(1.5) + footprint, 0, 1)
        return np.asarray(np.maximum(line[0], line[1]))
