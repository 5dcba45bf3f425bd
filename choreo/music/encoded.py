"""Songs as music features, and features that were computed elsewhere and are not trusted."""

import hashlib
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from choreo.errors import InvalidInput
from choreo.music.audio import FRAME_RATE, Audio
from choreo.music.beat_tracking.beats import Beats
from choreo.music.beat_tracking.heard import DEFAULT_TRACKER, heard_beats
from choreo.music.beats import tempo_of
from choreo.music.features import BEAT, DSP_DIM, ONSET, dsp35, normalized_onset

JUKEBOX_DIM: Final = 4800
MAX_FRAMES: Final = 108_000
"""One hour at 30 fps."""
MAX_ABS_FEATURE: Final = 1e6

_ENCODER_OF_DIM: Final = {DSP_DIM: "dsp35", JUKEBOX_DIM: "jukebox"}


@dataclass(frozen=True)
class MusicFeatures:
    """A song as the models see it.

    Attributes:
        features: float32 (T, D) at 30 fps, not normalised.
        beats: float64 (n,), seconds from the start of the song.
        tempo: beats per minute, 0 where no beat grid was found.
        onset: float32 (T,), onset strength in 0..1.
        encoder: name of the encoder that computed the features.
        digest: sha256 (hex) of the song's bytes, or of the array where there was no song.
        notes: sentences on what was missing of the song, or not heard in it.
        downbeats: float64 (m,), the beats that begin a bar; empty where bars are not known.
        beat_confidence: how sure the tracker is of the beats, 0 to 1; None where no tracker heard them.
    """

    features: NDArray[np.float32]
    beats: NDArray[np.float64]
    tempo: float
    onset: NDArray[np.float32]
    encoder: str
    digest: str
    notes: tuple[str, ...] = ()
    downbeats: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    beat_confidence: float | None = None

    @property
    def num_frames(self) -> int:
        """T."""
        return len(self.features)

    @property
    def nbytes(self) -> int:
        """Memory of the arrays."""
        return self.features.nbytes + self.beats.nbytes + self.downbeats.nbytes + self.onset.nbytes


def precomputed(
    array: NDArray[Any],
    field: str = "features",
    expected_dim: int | None = None,
    audio: Audio | None = None,
    tracker: str = DEFAULT_TRACKER,
) -> MusicFeatures:
    """Features that were computed elsewhere, (T, 35) or (T, 4800) at 30 fps.

    Beats and onsets come from the columns of 35-d features. 4800-d features have no such columns, so theirs come from
    `audio` if it is given, heard by `tracker`, and are empty otherwise. Bars are known of `audio` only.

    Raises:
        InvalidInput: wrong shape or type, more than an hour, or values that are NaN, infinite or absurdly large.
    """
    columns = _checked(array, field, expected_dim)
    name = _ENCODER_OF_DIM[columns.shape[1]]
    digest = audio.sha256 if audio is not None else hashlib.sha256(columns.tobytes()).hexdigest()
    if name == "dsp35":
        return with_rhythm(columns, columns, name, digest)
    if audio is None:
        return with_rhythm(columns, None, name, digest)
    return with_rhythm(columns, dsp35(audio), name, digest, heard_beats(audio, tracker))


def with_rhythm(
    features: NDArray[np.float32],
    rhythm: NDArray[np.float32] | None,
    encoder: str,
    digest: str,
    heard: Beats | None = None,
) -> MusicFeatures:
    """Features (T, D) with beats and onsets from the 35-d columns `rhythm`, cut or zero-padded to T; none for None.

    Beats that a tracker `heard` come in place of those in the columns.
    """
    num_frames = len(features)
    onset = np.zeros(num_frames, np.float32)
    beats = np.zeros(0)
    if rhythm is not None:
        onset[: len(rhythm)] = normalized_onset(rhythm[:, ONSET])[:num_frames]
        beats = np.flatnonzero(rhythm[:num_frames, BEAT] > 0.5) / FRAME_RATE
    if heard is not None:
        found = heard.before(num_frames)
        return MusicFeatures(
            features,
            found.times,
            found.tempo,
            onset,
            encoder,
            digest,
            downbeats=found.downbeats,
            beat_confidence=found.confidence,
        )
    return MusicFeatures(features, beats, tempo_of(beats), onset, encoder, digest)


def load_features(source: bytes | Path, field: str = "features", max_frames: int = MAX_FRAMES) -> NDArray[np.float32]:
    """Features float32 (T, D) from an .npy file or its bytes; the header is checked before any data is read.

    Raises:
        InvalidInput: not an .npy of real numbers of shape (T, 35) or (T, 4800), truncated, too long, or not finite.
    """
    try:
        if isinstance(source, Path):
            if not source.is_file():
                raise InvalidInput(field, f"there is no file {source.name!r}")
            with source.open("rb") as file:
                return _read_npy(file, field, max_frames)
        return _read_npy(io.BytesIO(source), field, max_frames)
    except OSError as error:
        raise InvalidInput(field, f"cannot be read: {error}") from error


def _read_npy(file: BinaryIO, field: str, max_frames: int) -> NDArray[np.float32]:
    try:
        read_header = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[npy.read_magic(file)]
        shape, fortran_order, dtype = read_header(file)
    except Exception as error:  # NumPy tokenises and evaluates the header and does not document what that may raise
        raise InvalidInput(field, "not an .npy file") from error
    _check_header(shape, dtype, field, max_frames)
    size = int(np.prod(shape)) * dtype.itemsize
    data = file.read(size + 1)
    if len(data) != size:
        raise InvalidInput(field, f"cut off or overlong: an array of shape {shape} needs {size} bytes of data")
    array = np.frombuffer(data, dtype).reshape(shape, order="F" if fortran_order else "C")
    return _checked(array, field, None, max_frames)


def _check_header(shape: tuple[int, ...], dtype: np.dtype[Any], field: str, max_frames: int) -> None:
    if dtype.kind != "f" or dtype.itemsize > 8:
        raise InvalidInput(field, f"must be float16, float32 or float64, got {dtype}")
    if len(shape) != 2 or shape[1] not in _ENCODER_OF_DIM:
        raise InvalidInput(field, f"must have shape (T, 35) or (T, 4800) at 30 fps, got {shape}")
    if not 1 <= shape[0] <= max_frames:
        raise InvalidInput(field, f"must have between 1 and {max_frames} frames, got {shape[0]}")


def _checked(
    array: NDArray[Any], field: str, expected_dim: int | None, max_frames: int = MAX_FRAMES
) -> NDArray[np.float32]:
    """The array as contiguous float32, if it is acceptable as features."""
    if not isinstance(array, np.ndarray):
        raise InvalidInput(field, f"must be an array, got {type(array).__name__}")
    _check_header(array.shape, array.dtype, field, max_frames)
    if expected_dim is not None and array.shape[1] != expected_dim:
        raise InvalidInput(field, f"the model takes {expected_dim} columns, got {array.shape[1]}")
    # NaN fails the comparison too.
    if not np.abs(array).max() <= MAX_ABS_FEATURE:
        raise InvalidInput(field, f"holds NaN, infinity or values beyond {MAX_ABS_FEATURE:g}")
    return np.ascontiguousarray(array, np.float32)
