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
OFF_GRID: Final = 0.125
"""Share of a beat by which a downbeat may lie beside the grid of a tempo that is said beside it."""
_PHASES_A_FRAME: Final = 8


@dataclass(frozen=True)
class Rhythm:
    """What was said, and is valid as far as that can be known without the song; see `said`.

    Attributes:
        bpm: the beats are a strict grid of this tempo, unless `beats` says them.
        beats: all beats, in seconds from the start of the song.
        half_time: every second beat is used, beginning with the first.
        downbeats: first beats of all bars, in seconds from the start of the song.
    """

    bpm: float | None = None
    beats: tuple[float, ...] | None = None
    half_time: bool = False
    downbeats: tuple[float, ...] | None = None

    @property
    def field(self) -> str | None:
        """Name of the first field that says something; None where all is as it is heard."""
        values = {"bpm": self.bpm is not None, "beats": self.beats is not None, "half_time": self.half_time}
        values["downbeats"] = self.downbeats is not None
        return next((name for name, is_given in values.items() if is_given), None)


AS_HEARD: Final = Rhythm()


def said(
    bpm: float | None,
    beats: Sequence[float] | None,
    half_time: bool,
    has_song: bool = True,
    downbeats: Sequence[float] | None = None,
) -> Rhythm:
    """Check what was said, of a song if there is one.

    Raises:
        InvalidInput: of the first field that is given, where there is no song to say it of. Of `bpm`: out of range, or
            not the tempo of the beats. Of `beats`: too few or too many. Of `beats.3`: not finite, negative, or not
            after the beat before. Of `half_time`: it leaves a single beat. Of `downbeats`: too few or too many, or
            neither `beats` nor `bpm` beside them. Of `downbeats.3`: as of beats, or it is not one of the beats, or not
            on a beat of the tempo.
    """
    if bpm is not None and not TEMPOS[0] <= bpm <= TEMPOS[1]:  # NaN is not either
        raise InvalidInput("bpm", f"must be a number between {TEMPOS[0]:g} and {TEMPOS[1]:g}, got {bpm}")
    rhythm = Rhythm(
        bpm, None if beats is None else tuple(beats), half_time, None if downbeats is None else tuple(downbeats)
    )
    if rhythm.field is not None and not has_song:
        raise InvalidInput(rhythm.field, "is about the beats of a song; give one, or its features")
    if downbeats is not None:
        _check_times(downbeats, "downbeats")
    if beats is None:
        if downbeats is not None:
            _check_bars_of_tempo(downbeats, bpm)
        return rhythm
    _check_times(beats, "beats")
    if downbeats is not None:
        _check_bars(downbeats, beats)
    tempo = tempo_of(beats)
    if bpm is not None and abs(tempo - bpm) > TOLERANCE * bpm:
        raise InvalidInput("bpm", f"is {bpm:g}, and the beats have a tempo of {tempo:.2f}")
    if half_time and len(beats) <= MIN_BEATS:
        raise InvalidInput("half_time", f"needs at least {MIN_BEATS + 1} beats, got {len(beats)}")
    return rhythm


def with_rhythm_as_said(song: MusicFeatures, rhythm: Rhythm) -> MusicFeatures:
    """The song with the beats that were said: `beats`, `downbeats`, `tempo` and, of 35-d features, the column of beats.

    Bars are those that were said. Where only `half_time` was, they are those that were heard, as far as their first
    beats are still beats; else they are not known.

    All else stays as it is; the arrays of `song` are not written to. `AS_HEARD` gives `song` itself.

    Raises:
        InvalidInput: of `beats.3` or `downbeats.3`: it is beyond the end of the song.
    """
    if rhythm.field is None:
        return song
    beats, downbeats = _grid_and_bars(song, rhythm)
    beats = beats[::2] if rhythm.half_time else beats
    return replace(
        song,
        features=with_beats(song.features, beats),
        beats=beats,
        downbeats=downbeats[np.isin(downbeats, beats)],
        beat_confidence=song.beat_confidence if rhythm.beats is None and rhythm.bpm is None else None,
        tempo=tempo_of(beats),
    )


def _grid_and_bars(song: MusicFeatures, rhythm: Rhythm) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Beats (n,), and those of them that begin a bar (m,), before any is left out for `half_time`."""
    length, said_bars = song.num_frames / FRAME_RATE, np.asarray(rhythm.downbeats or (), np.float64)
    _check_within(said_bars, song.num_frames, "downbeats")
    if rhythm.beats is not None:
        beats = np.asarray(rhythm.beats, np.float64)
        _check_within(beats, song.num_frames, "beats")
    elif rhythm.bpm is None:
        return song.beats, song.downbeats
    elif rhythm.downbeats is not None:
        period = 60 / rhythm.bpm
        phase = _phase_of(said_bars, period)
        beats = phase + period * np.arange(-1, math.ceil(length / period))
        # A beat that lies a little before the song is its first.
        beats = np.maximum(beats[beats > -OFF_GRID * period], 0)
    else:
        beats = best_grid(song.onset, rhythm.bpm)
    beats = beats if rhythm.beats is not None else beats[beats < length]
    nearest = np.abs(beats - said_bars[:, None]).argmin(axis=1) if len(beats) else np.zeros(0, np.int64)
    return beats, beats[np.unique(nearest)]


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


def _check_times(times: Sequence[float], field: str) -> None:
    if not MIN_BEATS <= len(times) <= MAX_BEATS:
        raise InvalidInput(field, f"must be {MIN_BEATS} to {MAX_BEATS} times in seconds, got {len(times)}")
    for i, time in enumerate(times):
        if not (math.isfinite(time) and time >= 0):
            raise InvalidInput(f"{field}.{i}", f"must be seconds from the start of the song, got {time}")
        if i and not time - times[i - 1] > MIN_STEP - 1e-6:
            raise InvalidInput(
                f"{field}.{i}",
                f"must be at least a frame (1/30 s) after the one before, {times[i - 1]:g}, got {time:g}",
            )


def _check_bars(downbeats: Sequence[float], beats: Sequence[float]) -> None:
    """Every downbeat is one of the beats, to a frame, and no two are the same one."""
    distances = np.abs(np.asarray(beats) - np.asarray(downbeats)[:, None])
    taken = distances.argmin(axis=1)
    for i, time in enumerate(downbeats):
        if distances[i].min() > MIN_STEP + 1e-6:
            raise InvalidInput(f"downbeats.{i}", f"must be one of the beats within a frame (1/30 s), got {time:g}")
        if i and taken[i] <= taken[i - 1]:
            raise InvalidInput(f"downbeats.{i}", f"is the same beat as the one before, got {time:g}")


def _check_bars_of_tempo(downbeats: Sequence[float], bpm: float | None) -> None:
    """Every downbeat lies on a grid of this tempo, to `OFF_GRID` of a beat, and no two on the same beat."""
    if bpm is None:
        raise InvalidInput("downbeats", "are some of the beats; say `beats` or `bpm` as well")
    times, period = np.asarray(downbeats, np.float64), 60 / bpm
    turns = (times - _phase_of(times, period)) / period
    for i, turn in enumerate(turns):
        if abs(turn - round(turn)) > OFF_GRID:
            raise InvalidInput(
                f"downbeats.{i}", f"is not on a beat of {bpm:g} BPM with the others, got {times[i]:g}; say `beats`"
            )
        if i and round(turn) <= round(turns[i - 1]):
            raise InvalidInput(f"downbeats.{i}", f"is the same beat as the one before, got {times[i]:g}")


def _phase_of(times: NDArray[np.float64], period: float) -> float:
    """Where in a period, 0 to `period`, times (n,) lie in the circular mean."""
    mean = np.exp(2j * np.pi * times / period).mean()
    return float(np.angle(mean) / (2 * np.pi) % 1) * period


def _check_within(beats: NDArray[np.float64], num_frames: int, field: str) -> None:
    """The end of a song is known to half a frame."""
    beyond = np.flatnonzero(beats * FRAME_RATE > num_frames + 0.5)
    if len(beyond):
        i = int(beyond[0])
        raise InvalidInput(f"{field}.{i}", f"is {beats[i]:g} s, and the song lasts {num_frames / FRAME_RATE:.2f} s")
