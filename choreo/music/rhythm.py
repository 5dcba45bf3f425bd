"""What a caller says of a song's beats, in place of what is heard in it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.errors import InvalidInput
from choreo.music.audio import FRAME_RATE
from choreo.music.beats import tempo_of
from choreo.music.encoded import MusicFeatures
from choreo.music.features import with_beats

TEMPOS: Final = (20.0, 300.0)
"""Beats per minute that may be said."""
MIN_BEATS: Final = 2
MAX_BEATS: Final = 4096
MIN_STEP: Final = 1 / FRAME_RATE
"""Seconds between two beats: each has a frame of its own."""
TOLERANCE: Final = 0.04
"""Share by which the tempo of beats may differ from one that is said beside them."""
_PHASES_A_FRAME: Final = 8


@dataclass(frozen=True)
class Rhythm:
    """What was said, and is valid as far as that can be known without the song; see `said`.

    Attributes:
        bpm: the beats are a strict grid of this tempo, unless `beats` says them.
        beats: all beats, in seconds from the start of the song.
        half_time: every second beat is used, beginning with the first.
    """

    bpm: float | None = None
    beats: tuple[float, ...] | None = None
    half_time: bool = False

    @property
    def field(self) -> str | None:
        """Name of the first field that says something; None where all is as it is heard."""
        values = {"bpm": self.bpm is not None, "beats": self.beats is not None, "half_time": self.half_time}
        return next((name for name, is_given in values.items() if is_given), None)


AS_HEARD: Final = Rhythm()


def said(bpm: float | None, beats: Sequence[float] | None, half_time: bool, has_song: bool = True) -> Rhythm:
    """Check what was said, of a song if there is one.

    Raises:
        InvalidInput: of the first field that is given, where there is no song to say it of. Of `bpm`: out of range, or
            not the tempo of the beats. Of `beats`: too few or too many. Of `beats.3`: not finite, negative, or not
            after the beat before. Of `half_time`: it leaves a single beat.
    """
    if bpm is not None and not TEMPOS[0] <= bpm <= TEMPOS[1]:  # NaN is not either
        raise InvalidInput("bpm", f"must be a number between {TEMPOS[0]:g} and {TEMPOS[1]:g}, got {bpm}")
    rhythm = Rhythm(bpm, None if beats is None else tuple(beats), half_time)
    if rhythm.field is not None and not has_song:
        raise InvalidInput(rhythm.field, "is about the beats of a song; give one, or its features")
    if beats is None:
        return rhythm
    _check_beats(beats)
    tempo = tempo_of(beats)
    if bpm is not None and abs(tempo - bpm) > TOLERANCE * bpm:
        raise InvalidInput("bpm", f"is {bpm:g}, and the beats have a tempo of {tempo:.2f}")
    if half_time and len(beats) <= MIN_BEATS:
        raise InvalidInput("half_time", f"needs at least {MIN_BEATS + 1} beats, got {len(beats)}")
    return rhythm


def with_rhythm_as_said(song: MusicFeatures, rhythm: Rhythm) -> MusicFeatures:
    """The song with the beats that were said: `beats`, `tempo` and, of 35-d features, the column of beats.

    All else stays as it is; the arrays of `song` are not written to. `AS_HEARD` gives `song` itself.

    Raises:
        InvalidInput: of `beats.3`: it is beyond the end of the song.
    """
    if rhythm.field is None:
        return song
    if rhythm.beats is not None:
        beats = np.asarray(rhythm.beats, np.float64)
        _check_within(beats, song.num_frames)
    else:
        beats = song.beats if rhythm.bpm is None else best_grid(song.onset, rhythm.bpm)
    beats = beats[::2] if rhythm.half_time else beats
    return replace(song, features=with_beats(song.features, beats), beats=beats, tempo=tempo_of(beats))


def best_grid(onset: NDArray[np.float32], bpm: float) -> NDArray[np.float64]:
    """Beats (n,) in seconds of a strict tempo, at the phase where they meet the most onset strength (T,) at 30 fps.

    The phase is found in steps of an eighth of a frame. Where none is better than another, it is 0.
    """
    period, length = 60 / bpm, len(onset) / FRAME_RATE
    phases = np.arange(0, min(period, length), 1 / (FRAME_RATE * _PHASES_A_FRAME))
    steps = period * np.arange(math.ceil(length / period))
    frames = (phases[:, None] + steps) * FRAME_RATE
    strength = np.interp(frames, np.arange(len(onset)), onset, right=0).sum(axis=1)
    beats: NDArray[np.float64] = phases[strength.argmax()] + steps
    return beats[beats < length]


def _check_beats(beats: Sequence[float]) -> None:
    if not MIN_BEATS <= len(beats) <= MAX_BEATS:
        raise InvalidInput("beats", f"must be {MIN_BEATS} to {MAX_BEATS} times in seconds, got {len(beats)}")
    for i, time in enumerate(beats):
        if not (math.isfinite(time) and time >= 0):
            raise InvalidInput(f"beats.{i}", f"must be seconds from the start of the song, got {time}")
        if i and not time - beats[i - 1] > MIN_STEP - 1e-6:
            raise InvalidInput(
                f"beats.{i}", f"must be at least a frame (1/30 s) after the beat before, {beats[i - 1]:g}, got {time:g}"
            )


def _check_within(beats: NDArray[np.float64], num_frames: int) -> None:
    """The end of a song is known to half a frame."""
    beyond = np.flatnonzero(beats * FRAME_RATE > num_frames + 0.5)
    if len(beyond):
        i = int(beyond[0])
        raise InvalidInput(f"beats.{i}", f"is {beats[i]:g} s, and the song lasts {num_frames / FRAME_RATE:.2f} s")
