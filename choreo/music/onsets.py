"""Onset strength as librosa computes it, which the features and its beat tracker share."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.music.audio import FRAME_RATE, SAMPLE_RATE
from choreo.music.compiling import load_librosa
from choreo.music.level import frame_levels, stretches_of_sound

HOP: Final = 512
"""Samples at 15360 Hz: one frame of motion."""


@dataclass(frozen=True)
class Onsets:
    """Onsets of a song at 30 fps.

    Attributes:
        decibel: mel spectrogram in dB (128, frames).
        envelope: onset strength (frames,), 0 where nothing sounds.
        stretches: frames between silences.
    """

    decibel: NDArray[np.float32]
    envelope: NDArray[np.float32]
    stretches: list[slice]


def onsets(samples: NDArray[np.float32]) -> Onsets:
    """Onsets of mono samples (N,) at 15360 Hz; there are 1 + N // 512 frames."""
    librosa = load_librosa()
    mel = librosa.feature.melspectrogram(y=samples, sr=SAMPLE_RATE, hop_length=HOP)
    decibel = librosa.power_to_db(mel)
    stretches = stretches_of_sound(frame_levels(samples, SAMPLE_RATE, HOP), FRAME_RATE)
    return Onsets(decibel, _only(librosa.onset.onset_strength(S=decibel, sr=SAMPLE_RATE), stretches), stretches)


def _only(envelope: NDArray[np.float32], stretches: list[slice]) -> NDArray[np.float32]:
    """An envelope (frames,) that is 0 outside the stretches."""
    out = np.zeros_like(envelope)
    for stretch in stretches:
        out[stretch] = envelope[stretch]
    return out
