"""Where a song sounds at all: onsets are differences in dB and do not know silence from music.

Dither at -101 dBFS rises and falls by as many dB as a drum does, so onset strength, and with it every beat tracker that
works on it, finds a rhythm in it.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

FLOOR_DB: Final = -80.0
"""Level of a frame, dB relative to full scale (RMS of 1), below which nothing sounds: the noise of 14-bit rounding."""
RANGE_DB: Final = 60.0
"""Nor does what lies so far below the loud parts of the same song, such as the hiss of a tape in a pause."""
PAUSE_SECONDS: Final = 1.0
"""Shorter pauses belong to the music: a rest does not stop the count."""
SOUND_SECONDS: Final = 0.2
"""Sounds that last no longer, with the frames that they fall into, have no rhythm."""
_LOWEST_HZ: Final = 30.0
"""What is slower is no sound: constant offsets, and their ringing where they begin."""
_WINDOW: Final = 4
"""Hops that the level of a frame is taken over, as many as the spectra of the features see."""


def frame_levels(samples: NDArray[np.float32], sample_rate: int, hop: int) -> NDArray[np.float64]:
    """Level of samples (N,) around every `hop` of them, (1 + N // hop,), in dB relative to full scale.

    Constant offsets do not count; -inf where there is nothing else.
    """
    from scipy.signal import butter, sosfilt, sosfilt_zi

    if not len(samples):
        return np.full(1, -np.inf)
    high_pass = butter(4, _LOWEST_HZ, "highpass", fs=sample_rate, output="sos")
    # Begun as if the first sample had lasted for ever, so that an offset does not begin with a click.
    audible, _ = sosfilt(high_pass, samples.astype(np.float64), zi=sosfilt_zi(high_pass) * float(samples[0]))
    side = _WINDOW // 2
    padded = np.zeros((len(samples) // hop + 1 + 2 * side) * hop)
    padded[side * hop : side * hop + len(samples)] = audible**2
    energy = padded.reshape(-1, hop).sum(axis=1)
    frames = 1 + len(samples) // hop
    power = sum(energy[i : i + frames] for i in range(_WINDOW)) / (_WINDOW * hop)
    with np.errstate(divide="ignore"):
        return np.asarray(10 * np.log10(power))


def stretches_of_sound(levels: NDArray[np.float64], frame_rate: float) -> list[slice]:
    """Frames between pauses of a second or more, as slices, without stretches that are too short for rhythm."""
    sounding = levels > FLOOR_DB
    if sounding.any():
        sounding &= levels > np.percentile(levels[sounding], 95) - RANGE_DB
    edges = np.flatnonzero(np.diff(np.concatenate([[False], sounding, [False]]).astype(np.int8)))
    stretches: list[slice] = []
    for start, stop in edges.reshape(-1, 2):
        if stretches and start - stretches[-1].stop < PAUSE_SECONDS * frame_rate:
            stretches[-1] = slice(stretches[-1].start, int(stop))
        else:
            stretches.append(slice(int(start), int(stop)))
    return [s for s in stretches if s.stop - s.start > SOUND_SECONDS * frame_rate]
