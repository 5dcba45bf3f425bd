"""A contact sheet: single frames of a performance side by side, around beats of its music."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw

from choreo.motion.clip import Motion
from choreo.motion.formats.camera import frame_dancers
from choreo.motion.formats.lettering import Lettering
from choreo.motion.formats.preview import TEXT, Painter
from choreo.motion.performance import Performance

BEATS: Final = 8
"""Columns of a sheet."""
AROUND: Final = (-0.13, 0.0, 0.13)
"""Rows of a sheet, seconds from a beat; 0.13 s are four frames at 30 fps."""
CELL: Final = (240, 180)
"""Width and height of a frame, pixels, both even."""
MARGIN: Final = 24
"""Height of the line with the title, pixels."""
GROUND: Final = (16, 17, 23)


def frames_around(beats: ArrayLike, num_frames: int, fps: float) -> NDArray[np.int64]:
    """Indices of frames before, at and after eight beats that are spread evenly over the motion, (3, n).

    Args:
        beats: seconds from the first frame; those outside the motion are ignored. Where none is left, eight moments at
            equal distances take their place.
        num_frames: of the motion; indices beyond it become its first or last frame.
        fps: frames per second.
    """
    times = np.unique(np.asarray(beats, np.float64).reshape(-1))
    times = times[np.isfinite(times) & (times >= 0) & (times < num_frames / fps)]
    if not len(times):
        times = (np.arange(BEATS) + 0.5) * num_frames / fps / BEATS
    chosen = times[np.linspace(0, len(times) - 1, min(BEATS, len(times))).round().astype(int)]
    frames = np.rint((chosen + np.array(AROUND)[:, None]) * fps).astype(np.int64)
    return np.clip(frames, 0, num_frames - 1)


def contact_sheet(
    dance: Motion | Performance, frames: NDArray[np.integer], title: str = "", labels: Sequence[str] = ()
) -> Image.Image:
    """Draw frames of a performance in rows and columns under one title.

    Args:
        dance: what is shown, by the camera of its film.
        frames: (rows, columns) indices.
        title: one line; what does not fit is cut.
        labels: as `choreo.motion.formats.preview.Painter` has them.
    """
    performance = Performance.of(dance)
    painter = Painter(performance, frame_dancers(performance.positions, CELL, fps=performance.fps), labels=labels)
    rows, columns = frames.shape
    sheet = Image.new("RGB", (columns * CELL[0], MARGIN + rows * CELL[1]), GROUND)
    letters = Lettering(MARGIN - 10)
    letters.draw(ImageDraw.Draw(sheet), (8, 3), letters.line(title, sheet.width - 16), TEXT)
    for (row, column), frame in np.ndenumerate(frames):
        sheet.paste(painter.paint(int(frame)), (column * CELL[0], MARGIN + row * CELL[1]))
    return sheet
