"""Marks in a film: discs on the floor under feet that stand, and a bar that lights up at the beats of the music."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from choreo.motion.formats.camera import Camera
from choreo.motion.performance import Performance
from choreo.motion.planted import planted
from choreo.motion.skeleton import CONTACT_JOINTS

Array = NDArray[np.float64]
Colour = tuple[int, int, int]

RADIUS: Final = 0.085
"""Of a disc, metres."""
CORNERS: Final = 24
STRENGTH: Final = 150
"""How much of the floor a disc covers, of 255."""
SMOOTH: Final = 4
"""Discs are drawn this many times as large and made smaller, so that their edges are smooth."""
BEAT: Final[Colour] = (255, 214, 120)
FLASH_S: Final = 0.12
"""After this time a beat's light has fallen to 1 / e; after three of them it is out."""
BAR: Final = 1 / 90
"""Height of the bar as a share of the image's."""


class Marks:
    """Draws the marks of one performance.

    Args:
        performance: beats are `meta["beats"]`, seconds from the first frame, if there are any.
        sides: of each dancer, the colours of the left and of the right foot.
    """

    def __init__(self, performance: Performance, sides: Sequence[tuple[Colour, Colour]]) -> None:
        self._fps = performance.fps
        self._stands = np.stack([planted(dancer.positions, dancer.fps) for dancer in performance.dancers]) > 0
        self._feet = np.asarray(performance.positions[:, :, list(CONTACT_JOINTS)], np.float64)
        self._colours = [[left, right, left, right] for left, right in sides]
        self._beats = beat_times(performance.meta.get("beats"))
        around = np.arange(CORNERS) * (2 * np.pi / CORNERS)
        self._circle = RADIUS * np.stack([np.cos(around), np.zeros(CORNERS), np.sin(around)], axis=1)

    def paint_feet(self, image: Image.Image, index: int, camera: Camera) -> None:
        """A disc below every foot of a frame that stands; a foot that rolls has one at the ankle and one at the toe."""
        for dancer, foot in np.argwhere(self._stands[:, index]):
            below = self._feet[dancer, index, foot] * (1, 0, 1)
            corners, _ = camera.project(below + self._circle)
            low, high = np.floor(corners.min(axis=0)), np.ceil(corners.max(axis=0)) + 1
            width, height = (int(side) for side in high - low)
            if width > camera.size[0] or height > camera.size[1]:
                continue  # right below the camera
            mask = Image.new("L", (SMOOTH * width, SMOOTH * height))
            ImageDraw.Draw(mask).polygon([tuple(corner) for corner in ((corners - low) * SMOOTH).tolist()], STRENGTH)
            image.paste(self._colours[dancer][foot], (int(low[0]), int(low[1])), mask.reduce(SMOOTH))

    def paint_beat(self, image: Image.Image, index: int) -> None:
        """A bar along the lower edge, bright at a beat and fading after it."""
        since = index / self._fps - self._beats
        since = since[since >= -0.5 / self._fps]
        if len(since) and since.min() < 3 * FLASH_S:
            strength = float(np.exp(-max(since.min(), 0.0) / FLASH_S))
            width, height = image.size
            mask = Image.new("L", (width, max(2, round(BAR * height))), round(255 * strength))
            image.paste(BEAT, (0, height - mask.height), mask)


def beat_times(said: Any) -> Array:
    """Beats (B,) that metadata has, ascending; none where it is no list of finite numbers."""
    if not isinstance(said, list | tuple) or not all(type(beat) in (int, float) for beat in said):
        return np.empty(0)
    times = np.sort(np.array(said, np.float64))
    return times if np.isfinite(times).all() else np.empty(0)
