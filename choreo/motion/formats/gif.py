"""A performance as a GIF that repeats, for READMEs: small, without sound, of at most twenty seconds."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from choreo.motion.clip import Motion
from choreo.motion.formats.mp4 import write_film
from choreo.motion.formats.view import Film
from choreo.motion.performance import Performance

RATE: Final = 20.0
"""Frames per second at most: a GIF counts hundredths of a second, and viewers slow down what is faster than 50."""
MAX_SECONDS: Final = 20.0
SIZE: Final = (320, 320)
_PALETTE: Final = (
    "-filter_complex",
    "split[a][b];[a]palettegen=stats_mode=diff:max_colors=128[p];[b][p]paletteuse=dither=bayer:bayer_scale=4",
    "-loop",
    "0",
    "-f",
    "gif",
)


def gif_bytes(dance: Motion | Performance, film: Film = Film(size=SIZE), title: str = "") -> bytes:
    """The file's bytes.

    Args:
        dance: what is shown; of a longer one, the first MAX_SECONDS.
        film: how it is taken.
        title: one line at the top of the image.

    Raises:
        ChoreoError: as `mp4.write_preview` does.
    """
    shown = _slower(Performance.of(dance))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "preview.gif"
        write_film(shown, path, _PALETTE, film, title)
        return path.read_bytes()


def _slower(performance: Performance) -> Performance:
    """The beginning of a performance at a rate of a GIF: frames that are nearest to the times, not new ones."""
    rate = 100 / max(np.ceil(100 / performance.fps), 100 / RATE)
    count = max(1, int(min(performance.seconds, MAX_SECONDS) * rate))
    chosen = np.minimum(np.rint(np.arange(count) * performance.fps / rate).astype(int), performance.num_frames - 1)
    dancers = tuple(Motion(dancer.positions[chosen], rate) for dancer in performance.dancers)
    return replace(performance, dancers=dancers)
