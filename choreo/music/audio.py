"""A decoded song, and decoding of untrusted audio to one.

`decode_audio` runs in this process; `choreo.music.isolated` runs the same code in a child process.
"""

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from choreo.errors import InvalidInput
from choreo.music.decoding import decode, fit, resampled
from choreo.music.limits import MAX_SECONDS, MAX_SOURCE_BYTES

SAMPLE_RATE = 15360
"""Hz; 512 samples are one motion frame at 30 fps."""
FRAME_RATE = 30
"""Music frames per second: the motion's own rate."""


@dataclass(frozen=True)
class Audio:
    """A decoded song.

    Attributes:
        samples: float32 (N,), mono, full scale 1.
        sample_rate: Hz, 15360 unless an encoder asked for another.
        seconds: duration of what was decoded; N = ceil(seconds * sample_rate) up to rounding.
        sha256: hex digest of the source's bytes, the identity of the song.
        notes: sentences on channels that were left out and parts that are missing.
    """

    samples: NDArray[np.float32]
    sample_rate: int
    seconds: float
    sha256: str
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.samples.ndim != 1 or self.samples.dtype != np.float32:
            raise ValueError(f"samples must be float32 (N,), got {self.samples.dtype} {self.samples.shape}")
        if not abs(len(self.samples) - self.seconds * self.sample_rate) <= 2:
            raise ValueError(f"{len(self.samples)} samples at {self.sample_rate} Hz do not last {self.seconds} s")

    @property
    def num_frames(self) -> int:
        """T = round(30 seconds), the number of motion frames that the song covers, at least 1."""
        return max(1, round(self.seconds * FRAME_RATE))

    def at(self, sample_rate: int) -> "Audio":
        """The same song resampled, `self` if it has this rate. A higher rate adds no frequencies."""
        if sample_rate == self.sample_rate:
            return self
        samples, _ = resampled(iter([self.samples[:, None]]), self.sample_rate, sample_rate)
        length = math.ceil(self.seconds * sample_rate)
        return Audio(fit(samples, length)[:, 0], sample_rate, self.seconds, self.sha256, self.notes)


def read_source(source: bytes | Path, field: str) -> bytes:
    """Bytes of an upload or of a regular file, at most 200 MB.

    Raises:
        InvalidInput: empty, too large, or not a readable regular file.
    """
    if isinstance(source, Path):
        source = _read_file(source, field)
    if not source:
        raise InvalidInput(field, "the audio is empty (0 bytes)")
    if len(source) > MAX_SOURCE_BYTES:
        raise InvalidInput(field, f"the audio is larger than {MAX_SOURCE_BYTES // 10**6} MB")
    return source


def decode_audio(
    source: bytes | Path,
    *,
    max_seconds: float = MAX_SECONDS,
    field: str = "audio",
    sample_rate: int = SAMPLE_RATE,
    mix: Literal["mean", "heard"] = "mean",
) -> Audio:
    """Decode a song (`choreo.music.limits.FORMATS`) to mono float32 at `sample_rate`, in Hz.

    What is missing of a file that was cut off, and channels that are silent or cancel each other, are in the notes.

    Args:
        source: the file's bytes, or its path.
        max_seconds: longer songs are refused.
        field: named by errors.
        sample_rate: of the result, Hz.
        mix: `mean` of all channels, or of those that are `heard`: without silent ones and ones that cancel others.

    Raises:
        InvalidInput: empty, not audio, corrupt, NaN, shorter than 0.1 s, longer than `max_seconds`, more than 16
            channels, a sampling rate outside 4..384 kHz or more than 200 MB. Silence is fine.
        MissingDependency: only ffmpeg may be able to read it, and there is none.
    """
    data = read_source(source, field)
    song = decode(data, mix, sample_rate, field, max_seconds)
    return Audio(song.samples[:, 0], sample_rate, song.seconds, hashlib.sha256(data).hexdigest(), song.notes)


def _read_file(path: Path, field: str) -> bytes:
    try:
        if not path.is_file():
            raise InvalidInput(field, f"there is no file {path.name!r}")
        with path.open("rb") as file:
            # One byte more than allowed, so that a file that grows while it is read is noticed.
            return file.read(MAX_SOURCE_BYTES + 1)
    except (OSError, ValueError) as error:
        raise InvalidInput(field, f"cannot read {path.name!r}: {error}") from error
