"""The beat grid of a song as per-frame input channels."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

RHYTHM_CHANNELS = 4
"""sin and cos of the beat phase, onset strength, presence of music."""
ONSET_CHANNEL = 2
SILENT_SECONDS = 1.0
"""Onset strength that is 0 for so long is silence: in music it is not 0 between the onsets either."""
_GAP = 2.5
"""Median periods; a longer step is a pause of the music, not a beat."""


def tempo_of(beats: ArrayLike) -> float:
    """Beats per minute from beat times in seconds (n,), by the mean period apart from pauses; 0 without a grid."""
    steps = np.diff(_grid(beats))
    if not len(steps):
        return 0.0
    periods = steps[steps <= _GAP * np.median(steps)]
    return 60 * len(periods) / float(periods.sum())


def beat_phase_channels(beats: ArrayLike, onset: ArrayLike, num_frames: int, fps: float = 30) -> NDArray[np.float32]:
    """Rhythm channels float32 (num_frames, 4): sin(2 pi phase), cos(2 pi phase), onset in 0..1, 1 where music plays.

    Args:
        beats: beat times in seconds (n,).
        onset: normalised onset strength (song_frames,) at `fps`; its length is the song's length.
        num_frames: T, which may be longer or shorter than the song.
        fps: frames per second.

    The phase is linear between successive beats and 0 (sin 0, cos 1) on each; before the first and after the last it
    continues with the median period. With fewer than two beats sin and cos are both 0, which no phase gives. So they
    are in silence: where there are neither beats nor onsets for a second or more. After the song everything is 0.
    """
    envelope = np.asarray(onset, np.float32)[:num_frames]
    channels = np.zeros((num_frames, RHYTHM_CHANNELS), np.float32)
    song = slice(0, len(envelope))
    channels[song, ONSET_CHANNEL] = np.clip(envelope, 0, 1)
    channels[song, 3] = 1
    times = _grid(beats)
    if len(times) > 1:
        angle = 2 * np.pi * (_phase(np.arange(len(envelope)) / fps, times) % 1)
        channels[song, 0] = np.sin(angle)
        channels[song, 1] = np.cos(angle)
        for start, stop in _silences(envelope, times * fps, SILENT_SECONDS * fps):
            channels[start:stop, :2] = 0
    return channels


def beats_of(channels: NDArray[np.floating], fps: float = 30) -> NDArray[np.float64]:
    """Beat times in seconds (n,) of rhythm channels (T, 4): where the phase wraps; empty where there is no phase."""
    sin, cos = np.asarray(channels, np.float64).T[:2]
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
    """First and end frames of silences in an onset envelope (T,); `beats` are in frames."""
    for run in _runs(onset <= 0):
        if run.stop - run.start >= shortest and not ((beats >= run.start) & (beats < run.stop)).any():
            yield run.start, run.stop


def _grid(beats: ArrayLike) -> NDArray[np.float64]:
    """Finite beat times in ascending order without duplicates."""
    times = np.asarray(beats, np.float64).reshape(-1)
    return np.unique(times[np.isfinite(times)])


def _phase(t: NDArray[np.float64], beats: NDArray[np.float64]) -> NDArray[np.float64]:
    """Number of beats before times t, interpolated: an integer on every beat."""
    period = float(np.median(np.diff(beats)))
    phase = np.interp(t, beats, np.arange(len(beats)))
    before, after = t < beats[0], t > beats[-1]
    phase[before] = (t[before] - beats[0]) / period
    phase[after] = len(beats) - 1 + (t[after] - beats[-1]) / period
    return phase
