"""Payloads of requests: prompts, and songs whose length is a number of motion frames."""

import io
import wave
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import httpx
import numpy as np
from numpy.typing import NDArray

from choreo.data.windows.captions import ATTRIBUTES
from choreo.motion.skeleton import FPS
from choreo.music.synth import SAMPLE_RATE, styles, synthesize_song

SAMPLES_PER_FRAME: Final = SAMPLE_RATE // FPS
TEMPOS: Final = (96.0, 124.0, 152.0)
"""Beats per minute, one value per style."""
DANCES: Final = ("salsa", "slow waltz", "rumba", "cha-cha", "hip-hop", "tango", "house", "ballet", "samba", "jive")
DANCERS: Final = ("a dancer", "a tall woman", "an old man", "somebody in a crowd", "a child", "the lead of a couple")
MAX_CLAUSES: Final = 8
_BOUNDARY: Final = "choreo-loadtest-7d1f0c5ab2e94386"


class Songs:
    """Synthesised songs from which excerpts are cut.

    Excerpts begin at random samples, so that requests carry different bytes and cannot be answered from a server's
    song cache.

    Args:
        max_frames: length of the longest excerpt, motion frames.
        seed: seed of the synthesis.
    """

    def __init__(self, max_frames: int, seed: int) -> None:
        seconds = (max_frames + FPS) / FPS
        kinds = zip(sorted(styles()), TEMPOS, strict=True)
        made = [synthesize_song(tempo, seconds, seed, style)[0] for style, tempo in kinds]
        self._songs = [(32767 * samples).astype("<i2") for samples in made]

    def piece(self, frames: int, rng: np.random.Generator) -> bytes:
        """An excerpt as a WAV file whose dance has exactly `frames` frames."""
        song = self._songs[rng.integers(len(self._songs))]
        length = frames * SAMPLES_PER_FRAME
        start = rng.integers(len(song) - length + 1)
        return _wav(song[start : start + length])


@dataclass(frozen=True)
class Body:
    """A request body and its content type."""

    data: bytes
    content_type: str


def prompt(rng: np.random.Generator) -> str:
    """A random prompt of four to about eighty words."""
    dancer, dance = (str(rng.choice(words)) for words in (DANCERS, DANCES))
    clauses = rng.choice(ATTRIBUTES, rng.integers(MAX_CLAUSES + 1))
    return ", then ".join([f"{dancer} performs a {dance}", *map(str, clauses)])


def form(fields: Mapping[str, str], files: Mapping[str, bytes]) -> Body:
    """A multipart form; its bytes are a function of the parts."""
    content_type = f"multipart/form-data; boundary={_BOUNDARY}"
    request = httpx.Request(
        "POST", "http://form", data=dict(fields), files=dict(files), headers={"Content-Type": content_type}
    )
    return Body(request.read(), content_type)


def _wav(samples: NDArray[np.int16]) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(samples.dtype.itemsize)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(samples.tobytes())
    return buffer.getvalue()
