"""The beat grid of a song as per-frame input channels."""

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

RHYTHM_CHANNELS = 8
"""sin and cos of the beat phase, onset strength, presence of music, sin and cos of the bar phase, whether the bar is
known, closeness of a beat."""
RHYTHM_WIDTHS = (4, 8)
"""How many of the channels, from the first one on, a network may take."""
ONSET_CHANNEL = 2
BAR = slice(4, 7)
CLOSENESS_CHANNEL = 7
CLOSE_SECONDS = 0.5
"""A beat this far away is not close at all; between beats at 60 BPM closeness just reaches 0."""
SILENT_SECONDS = 1.0
"""Onset strength that is 0 for so long is silence: in music it is not 0 between the onsets either."""
_EDGE = 0.15
"""Share of `SILENT_SECONDS` at either end of a silence in which a beat does not break it."""
_GAP = 2.5
"""Median periods; a longer step is a pause of the music, not a beat."""


def tempo_of(beats: ArrayLike) -> float:
    """Beats per minute from beat times in seconds (n,), by the mean period apart from pauses; 0 without a grid."""
    steps = np.diff(_grid(beats))
    if not len(steps):
        return 0.0
    periods = steps[steps <= _GAP * np.median(steps)]
    return 60 * len(periods) / float(periods.sum())


def beat_phase_channels(
    beats: ArrayLike, onset: ArrayLike, num_frames: int, fps: float = 30, downbeats: ArrayLike = ()
) -> NDArray[np.float32]:
    """Rhythm channels float32 (num_frames, 8).

    0, 1: sin(2 pi phase), cos(2 pi phase) between beats. 2: onset in 0..1. 3: 1 where music plays. 4, 5: the same sin
    and cos between downbeats. 6: 1 where the bar is known. 7: closeness of a beat, 1 - d / 0.5 s and at least 0, where
    d is the time to the nearest one: the distance of Beat-It (Huang et al. 2024, nearest beat distance), turned round
    so that 0 says that no beat is near or known. It is in seconds, so that it tells the tempo as well.

    Args:
        beats: beat times in seconds (n,).
        onset: normalised onset strength (song_frames,) at `fps`; its length is the song's length.
        num_frames: T, which may be longer or shorter than the song.
        fps: frames per second.
        downbeats: first beats of bars in seconds (m,); empty where they are not known.

    The phase is linear between successive beats and 0 (sin 0, cos 1) on each; before the first and after the last it
    continues with the median period. With fewer than two beats sin and cos are both 0, which no phase gives. So they
    are in silence: where there are neither beats nor onsets for a second or more. After the song everything is 0.

    The bar phase goes on in the same way before the first and after the last downbeat. It needs two downbeats, and a
    phase between beats: elsewhere channels 4 to 6 are 0.
    """
    envelope = np.asarray(onset, np.float32)[:num_frames]
    channels = np.zeros((num_frames, RHYTHM_CHANNELS), np.float32)
    song = slice(0, len(envelope))
    channels[song, ONSET_CHANNEL] = np.clip(envelope, 0, 1)
    channels[song, 3] = 1
    times = _grid(beats)
    if len(times) > 1:
        t = np.arange(len(envelope)) / fps
        _write_phase(channels[song, :2], t, times)
        channels[song, CLOSENESS_CHANNEL] = _closeness(t, times)
        bars = _grid(downbeats)
        if len(bars) > 1:
            _write_phase(channels[song, 4:6], t, bars)
            channels[song, 6] = 1
        for start, stop in _silences(envelope, times * fps, SILENT_SECONDS * fps):
            channels[start:stop, :2] = 0
            channels[start:stop, 4:] = 0
    return channels


def beats_of(channels: NDArray[np.floating], fps: float = 30) -> NDArray[np.float64]:
    """Beat times in seconds (n,) of rhythm channels (T, 4 or 8): where the phase wraps; empty where there is none."""
    return _grid_of(channels[:, :2], fps)


def downbeats_of(channels: NDArray[np.floating], fps: float = 30) -> NDArray[np.float64]:
    """Downbeats in seconds (m,) of rhythm channels (T, 4 or 8); empty where bars are not known."""
    return _grid_of(channels[:, 4:6], fps) if channels.shape[1] >= RHYTHM_CHANNELS else np.zeros(0)


def _grid_of(phase: NDArray[np.floating], fps: float) -> NDArray[np.float64]:
    """Times in seconds at which a phase, as sin and cos (T, 2), wraps."""
    sin, cos = np.asarray(phase, np.float64).T
    return np.concatenate([np.zeros(0), *(_wraps(sin, cos, run, fps) for run in _runs(np.hypot(sin, cos) > 0.5))])


def _wraps(sin: NDArray[np.float64], cos: NDArray[np.float64], run: slice, fps: float) -> NDArray[np.float64]:
    """Beat times in a run of frames with a phase."""
    if run.stop - run.start < 2:
        return np.zeros(0)
    turns = np.unwrap(np.arctan2(sin[run], cos[run])) / (2 * np.pi)
    whole = np.arange(np.ceil(turns[0] - 1e-4), np.floor(turns[-1] + 1e-4) + 1)
    return np.interp(whole, turns, np.arange(run.start, run.stop) / fps)


def _runs(mask: NDArray[np.bool_]) -> list[slice]:
    """Runs of frames in which a mask (T,) is true."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return [slice(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]


def _silences(onset: NDArray[np.floating], beats: NDArray[np.float64], shortest: float) -> Iterator[tuple[int, int]]:
    """First and end frames of silences in an onset envelope (T,); `beats` are in frames.

    A beat may be heard shortly before the strength of its onset rises: a silence ends before it, or begins after it.
    """
    edge = _EDGE * shortest
    for run in _runs(onset <= 0):
        inside = beats[(beats >= run.start) & (beats < run.stop)]
        early, late = inside[inside < run.start + edge], inside[inside >= run.stop - edge]
        start = math.floor(early[-1]) + 1 if len(early) else run.start
        stop = math.floor(late[0]) if len(late) else run.stop
        if stop - start >= shortest and len(early) + len(late) == len(inside):
            yield start, stop


def _grid(beats: ArrayLike) -> NDArray[np.float64]:
    """Finite beat times in ascending order without duplicates."""
    times = np.asarray(beats, np.float64).reshape(-1)
    return np.unique(times[np.isfinite(times)])


def _write_phase(out: NDArray[np.float32], t: NDArray[np.float64], grid: NDArray[np.float64]) -> None:
    """Put sin and cos of the phase at times t (T,) within a grid into out (T, 2)."""
    angle = 2 * np.pi * (_phase(t, grid) % 1)
    out[:, 0], out[:, 1] = np.sin(angle), np.cos(angle)


def _closeness(t: NDArray[np.float64], beats: NDArray[np.float64]) -> NDArray[np.float64]:
    """How close (T,) the nearest beat is at times t, 1 on it; the grid goes on before its first and after its last."""
    phase = _phase(t, beats)
    period = float(np.median(np.diff(beats)))
    numbers = np.arange(len(beats))
    nearest = np.rint(phase)
    at = np.interp(nearest, numbers, beats)
    at += np.where(nearest < 0, nearest, np.maximum(nearest - numbers[-1], 0)) * period
    return np.clip(1 - np.abs(t - at) / CLOSE_SECONDS, 0, 1)


def _phase(t: NDArray[np.float64], beats: NDArray[np.float64]) -> NDArray[np.float64]:
    """Number of beats before times t, interpolated: an integer on every beat."""
    period = float(np.median(np.diff(beats)))
    phase = np.interp(t, beats, np.arange(len(beats)))
    before, after = t < beats[0], t > beats[-1]
    phase[before] = (t[before] - beats[0]) / period
    phase[after] = len(beats) - 1 + (t[after] - beats[-1]) / period
    return phase
