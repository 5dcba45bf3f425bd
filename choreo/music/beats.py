"""The beat grid of a song as per-frame input channels."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

RHYTHM_CHANNELS = 4
"""sin and cos of the beat phase, onset strength, presence of music."""
ONSET_CHANNEL = 2


def tempo_of(beats: ArrayLike) -> float:
    """Beats per minute, 60 (n - 1) / (last - first), from beat times in seconds (n,); 0 where there is no grid."""
    times = _grid(beats)
    return 60 * (len(times) - 1) / float(times[-1] - times[0]) if len(times) > 1 else 0.0


def beat_phase_channels(beats: ArrayLike, onset: ArrayLike, num_frames: int, fps: float = 30) -> NDArray[np.float32]:
    """Rhythm channels float32 (num_frames, 4): sin(2 pi phase), cos(2 pi phase), onset in 0..1, 1 where music plays.

    Args:
        beats: beat times in seconds (n,).
        onset: normalised onset strength (song_frames,) at `fps`; its length is the song's length.
        num_frames: T, which may be longer or shorter than the song.
        fps: frames per second.

    The phase is linear between successive beats and 0 (sin 0, cos 1) on each; before the first and after the last it
    continues with the median period. With fewer than two beats sin and cos are both 0, which no phase gives. After the
    end of the song everything is 0.
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
    return channels


def beats_of(channels: NDArray[np.floating], fps: float = 30) -> NDArray[np.float64]:
    """Beat times in seconds (n,) of rhythm channels (T, 4): where the phase wraps; empty where there is no phase."""
    sin, cos = np.asarray(channels, np.float64).T[:2]
    known = np.flatnonzero(np.hypot(sin, cos) > 0.5)
    if len(known) < 2:
        return np.zeros(0)
    turns = np.unwrap(np.arctan2(sin[known], cos[known])) / (2 * np.pi)
    whole = np.arange(np.ceil(turns[0] - 1e-4), np.floor(turns[-1] + 1e-4) + 1)
    return np.interp(whole, turns, known / fps)


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
