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
BLOCK_ROWS: Final = 32
"""Rows that are computed at a time."""
LEAST_FADE: Final = 1e-3
"""Floor that is fainter than this is not drawn."""


class Stage:
    """The background of every frame.

    The camera never turns and its horizon is level, so that what a pixel sees of the floor only shifts and grows with
    the camera's place. How far ahead that is depends on the row alone, and how far aside is the row's scale times the
    column: distances are products of a row and a column, computed a few rows at a time, so that they stay in the cache.

    Args:
        camera: of the film.
        centre: (3,) middle of the dancers, metres; of a moving camera (T, 3).
    """

    def __init__(self, camera: Camera, centre: Array) -> None:
        width, height = camera.size
        self._camera, self._centre = camera, centre
        self._column: Pixels = ((np.arange(width) + 0.5 - width / 2) / camera.focal).astype(np.float32)
        y = (np.arange(height) + 0.5 - height / 2) / camera.focal
        down = y * camera.axes[1, 1] + camera.axes[2, 1]  # how steeply a row looks up
        self._first = int(np.argmax(down < -1e-4)) if down[-1] < -1e-4 else height
        below = slice(self._first, height)
        # On the floor, for an eye one metre above it: metres aside per column, and metres ahead.
        self._aside = -1 / down[below]
        ahead = camera.axes[2] + y[below, None] * camera.axes[1]
        self._ahead = ahead[:, [0, 2]] * self._aside[:, None]  # (rows, 2)
        self._right = camera.axes[0, [0, 2]]
        self._footprint = self._footprints()
        self._wide = self._footprint.max(axis=(0, 2), initial=0.0)
        self._per_footprint: Pixels = 1 / (self._footprint + np.float32(1e-9))
        shade = 1.0 + 0.25 * (1 - (np.arange(height, dtype=np.float32) + 0.5) / height)
        self._sky: Pixels = SKY[:, None] * shade
        self._empty = np.repeat(self._sky[..., None].round().astype(np.uint8), width, axis=2)
        # NumPy compares arrays several times as fast as an array and a number.
        self._zero, self._one = (np.full((BLOCK_ROWS, width), value, np.float32) for value in (0, 1))
        self._still: Image.Image | None = None

    def paint(self, index: int) -> Image.Image:
        """The background of frame `index`, a new RGB image."""
        eye = self._camera.at(index).eye
        if self._camera.eye.ndim > 1:
            return self._painted(eye, self._centre[index])
        if self._still is None:
            self._still = self._painted(eye, self._centre)
        return self._still.copy()

    def _footprints(self) -> Pixels:
        """Metres of the floor that a pixel covers along x and z, (2, rows, width), for an eye one metre above it."""
        seen = self._aside[:, None, None] * self._column[:, None] * self._right + self._ahead[:, None]
        seen = np.moveaxis(seen, -1, 0)
        along = [np.gradient(seen, axis=axis) if seen.shape[1] > 1 else np.zeros_like(seen) for axis in (1, 2)]
        return np.asarray(np.hypot(*along), np.float32)

    def _painted(self, eye: Array, centre: Array) -> Image.Image:
        image = self._empty.copy()
        reach = FADE * max(float(np.linalg.norm(eye - centre)), 1e-6)
        off = self._ahead * eye[1] + (eye - centre)[[0, 2]]  # (rows, 2): straight ahead, from the dancers
        aside = off @ self._right
        nearest = (off**2).sum(axis=1) - aside**2
        lit = np.flatnonzero(np.exp(-nearest / reach**2) > LEAST_FADE)
        if len(lit) and eye[1] > 0:
            for start in range(int(lit[0]), int(lit[-1]) + 1, BLOCK_ROWS):
                rows = slice(start, min(start + BLOCK_ROWS, int(lit[-1]) + 1))
                across = (self._aside[rows, None] * eye[1]).astype(np.float32) * self._column
                fade = _faded(across, aside[rows], nearest[rows], reach)
                below = slice(self._first + rows.start, self._first + rows.stop)
                _colour(image[:, below], fade, self._lines(across, eye, rows), self._sky[:, below])
        size = image.shape[2], image.shape[1]
        return Image.merge("RGB", [Image.frombuffer("L", size, plane, "raw", "L", 0, 1) for plane in image])

    def _lines(self, across: Pixels, eye: Array, rows: slice) -> Pixels:
        """How much of a grid line each pixel holds, 0 to 1; `across`: metres aside."""
        high = eye[1] / GRID_STEP
        # Only where it lies between two lines counts, and float32 would not hold that far from the origin.
        begin = self._ahead[rows] * high + eye[[0, 2]] / GRID_STEP % 1
        blurred = self._wide[rows].max() * high > 1 / 6
        best: Pixels | None = None
        for axis in range(2):
            at = across * np.float32(self._right[axis] / GRID_STEP)
            at += begin[:, axis, None].astype(np.float32)
            at -= np.rint(at)
            np.abs(at, out=at)
            at *= self._per_footprint[axis, rows]
            at *= np.float32(-1 / high)
            at += np.float32(LINE)
            if blurred:  # far away, where lines run into one another
                weight = self._footprint[axis, rows] * np.float32(-3 * high)
                weight += np.float32(1.5)
                at = self._cut(at)
                at *= self._cut(weight)
            best = at if best is None else np.maximum(best, at, out=best)
        assert best is not None
        return self._cut(best)

    def _cut(self, values: Pixels) -> Pixels:
        """Values of a block of rows, which they replace, between 0 and 1."""
        np.maximum(values, self._zero[: len(values)], out=values)
        return np.asarray(np.minimum(values, self._one[: len(values)], out=values))


def _faded(across: Pixels, aside: Array, nearest: Array, reach: float) -> Pixels:
    """How much of the floor is seen, 0 to 1: a bell around the dancers, as the product of one ahead and one aside."""
    off = across + aside[:, None].astype(np.float32)
    off *= off
    off *= np.float32(-1 / reach**2)
    np.exp(off, out=off)
    off *= np.exp(-nearest / reach**2)[:, None].astype(np.float32)
    return np.asarray(off)


def _colour(image: NDArray[np.uint8], fade: Pixels, line: Pixels, sky: Pixels) -> None:
    """Write the colours (3, rows, width) of some rows; between those of sky, floor and lines, nothing need be cut."""
    value = np.empty_like(fade)
    for channel in range(3):
        np.multiply(line, np.float32(0.55) * (GRID - FLOOR)[channel], out=value)
        value += (FLOOR - SKY)[channel]
        value *= fade
        value += sky[channel, :, None] + np.float32(0.5)
        image[channel] = value
