"""Decoding of untrusted audio: block by block, checked against limits, mixed down to mono and resampled.

`decode_audio` runs in this process; `choreo.music.isolated` runs the same code in a child process.
"""

import hashlib
import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from choreo.errors import InvalidInput

SAMPLE_RATE = 15360
"""Hz; 512 samples are one motion frame at 30 fps."""
FRAME_RATE = 30
"""Music frames per second: the motion's own rate."""
MAX_SECONDS = 600.0
MIN_SECONDS = 0.1
MAX_SOURCE_BYTES = 200_000_000
MAX_CHANNELS = 16
MIN_SOURCE_RATE = 4_000
MAX_SOURCE_RATE = 384_000
MAX_AMPLITUDE = 1e5
"""Full scale is 1. Float files scaled like 16-bit integers are accepted; spectra stay within the range of float32."""

_FORMATS = frozenset({"WAV", "WAVEX", "RF64", "FLAC", "OGG", "MP3", "MPEG", "AIFF"})
_EXACT_HEADERS = frozenset({"WAV", "WAVEX", "RF64", "FLAC", "AIFF"})
_UNKNOWN_FRAMES = 1 << 62
_BLOCK_VALUES = 1 << 18


@dataclass(frozen=True)
class Audio:
    """A decoded song.

    Attributes:
        samples: float32 (N,), mono, full scale 1.
        sample_rate: Hz, 15360 unless an encoder asked for another.
        seconds: duration of the source; N = ceil(seconds * sample_rate) up to rounding.
        sha256: hex digest of the source's bytes, the identity of the song.
    """

    samples: NDArray[np.float32]
    sample_rate: int
    seconds: float
    sha256: str

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
        samples, _ = _resampled(iter([self.samples]), self.sample_rate, sample_rate)
        length = math.ceil(self.seconds * sample_rate)
        return Audio(_fit(samples, length), sample_rate, self.seconds, self.sha256)


@dataclass(frozen=True)
class AudioInfo:
    """What a file's header claims."""

    format: str
    sample_rate: int
    channels: int
    frames: int

    @property
    def seconds(self) -> float:
        """Claimed duration."""
        return self.frames / self.sample_rate


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
    source: bytes | Path, *, max_seconds: float = MAX_SECONDS, field: str = "audio", sample_rate: int = SAMPLE_RATE
) -> Audio:
    """Decode wav, flac, ogg, mp3 or aiff to mono float32 at `sample_rate`, in Hz.

    Decoding, mixing and resampling (soxr HQ, `soxr_hq` in `librosa.resample`) stream block by block, and the limits
    are checked against what was decoded, so a header that lies about its length costs no memory.

    Raises:
        InvalidInput: empty, not audio, corrupt, NaN, shorter than 0.1 s, longer than `max_seconds`, more than 16
            channels, a sampling rate outside 4..384 kHz or more than 200 MB. Silence is fine.
    """
    data = read_source(source, field)
    with _open(io.BytesIO(data), field) as sound:
        info = _checked_info(sound, max_seconds, field)
        samples, frames = _resampled(_mono_blocks(sound, info, max_seconds, field), info.sample_rate, sample_rate)
    _check_frames(frames, info, field)
    return Audio(samples, sample_rate, frames / info.sample_rate, hashlib.sha256(data).hexdigest())


def _read_file(path: Path, field: str) -> bytes:
    try:
        if not path.is_file():
            raise InvalidInput(field, f"there is no file {path.name!r}")
        with path.open("rb") as file:
            # One byte more than allowed, so that a file that grows while it is read is noticed.
            return file.read(MAX_SOURCE_BYTES + 1)
    except (OSError, ValueError) as error:
        raise InvalidInput(field, f"cannot read {path.name!r}: {error}") from error


def _open(file: BinaryIO, field: str) -> Any:
    import soundfile

    try:
        return soundfile.SoundFile(file)
    except (soundfile.SoundFileError, RuntimeError, TypeError, ValueError) as error:
        raise InvalidInput(field, "not audio that can be read; send wav, flac, ogg or mp3") from error


def _checked_info(sound: Any, max_seconds: float, field: str) -> AudioInfo:
    """Header of an open file, if it is within the limits."""
    info = AudioInfo(str(sound.format), int(sound.samplerate), int(sound.channels), int(sound.frames))
    if info.format not in _FORMATS:
        raise InvalidInput(field, f"{info.format} audio is not accepted; send wav, flac, ogg or mp3")
    if not 1 <= info.channels <= MAX_CHANNELS:
        raise InvalidInput(field, f"must have between 1 and {MAX_CHANNELS} channels, got {info.channels}")
    if not MIN_SOURCE_RATE <= info.sample_rate <= MAX_SOURCE_RATE:
        raise InvalidInput(
            field, f"sampling rate must be between {MIN_SOURCE_RATE} and {MAX_SOURCE_RATE} Hz, got {info.sample_rate}"
        )
    if info.frames >= _UNKNOWN_FRAMES:
        # A FLAC that was written into a pipe: libsndfile reports an error at its end and loses the last block.
        raise InvalidInput(field, f"the {info.format} header does not tell how long the audio is; encode it to a file")
    if info.seconds > max_seconds:
        raise _too_long(max_seconds, field)
    return info


def _too_long(max_seconds: float, field: str) -> InvalidInput:
    return InvalidInput(field, f"the audio is longer than the limit of {max_seconds:g} s")


def _mono_blocks(sound: Any, info: AudioInfo, max_seconds: float, field: str) -> Iterator[NDArray[np.float32]]:
    """Blocks of the channels' mean, float32 (n,), counted against the limit and checked for NaN."""
    import soundfile

    block_frames = max(1024, _BLOCK_VALUES // info.channels)
    total = 0
    while True:
        try:
            block = sound.read(block_frames, dtype="float32", always_2d=True)
        except (soundfile.SoundFileError, RuntimeError) as error:
            raise InvalidInput(field, "the audio is corrupt: decoding stopped with an error") from error
        if not len(block):
            return
        total += len(block)
        if total > max_seconds * info.sample_rate:
            raise _too_long(max_seconds, field)
        mono = block.mean(axis=1, dtype=np.float32)
        # NaN and infinity survive the mean and the maximum, so one comparison catches them too.
        if not np.abs(mono).max() <= MAX_AMPLITUDE:
            raise InvalidInput(field, "the audio holds NaN, infinite or absurdly large samples")
        yield mono


def _resampled(
    blocks: Iterator[NDArray[np.float32]], source_rate: int, target_rate: int
) -> tuple[NDArray[np.float32], int]:
    """All blocks at the target rate, float32 (ceil(frames * target_rate / source_rate),), and their source frames."""
    import soxr

    stream = None
    if source_rate != target_rate:
        stream = soxr.ResampleStream(source_rate, target_rate, 1, dtype="float32", quality="HQ")
    frames, pieces = 0, []
    for block in blocks:
        frames += len(block)
        pieces.append(block if stream is None else stream.resample_chunk(block))
    if stream is not None:
        pieces.append(stream.resample_chunk(np.zeros(0, np.float32), last=True))
    samples = np.concatenate(pieces) if pieces else np.zeros(0, np.float32)
    # The resampler may round its length either way; librosa pads or cuts to the ceiling.
    return _fit(samples, math.ceil(frames * target_rate / source_rate)), frames


def _fit(samples: NDArray[np.float32], length: int) -> NDArray[np.float32]:
    """Samples cut or zero-padded to (length,)."""
    return np.pad(samples[:length], (0, max(0, length - len(samples))))


def _check_frames(frames: int, info: AudioInfo, field: str) -> None:
    """Refuse a song that is too short, or shorter than its header says (a truncated download)."""
    if not frames:
        raise InvalidInput(field, "the audio holds no samples")
    if frames < MIN_SECONDS * info.sample_rate:
        raise InvalidInput(field, f"the audio is shorter than {MIN_SECONDS:g} s")
    if info.format in _EXACT_HEADERS and frames < 0.99 * info.frames - MIN_SECONDS * info.sample_rate:
        decoded = f"{frames / info.sample_rate:.1f} s of {info.seconds:.1f} s"
        raise InvalidInput(field, f"the audio is corrupt or cut off: only {decoded} can be decoded")
