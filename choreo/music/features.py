"""The 35-d music features at 30 fps, computed by librosa 0.11 with its defaults at 15360 Hz and hop 512.

Columns and parameters are those of EDGE's baseline features (Tseng et al. 2023), as in the training data.
"""

import warnings

import numpy as np
from numpy.typing import NDArray

from choreo.music.audio import SAMPLE_RATE, Audio
from choreo.music.beat_tracking.librosa_tracker import librosa_beats
from choreo.music.compiling import load_librosa
from choreo.music.onsets import HOP, onsets

DSP_DIM = 35
ONSET = 0
MFCC = slice(1, 21)
CHROMA = slice(21, 33)
ONSET_PEAK = 33
BEAT = 34

_ONSET_FLOOR = 1.0


def dsp35(audio: Audio) -> NDArray[np.float32]:
    """Features float32 (T, 35) with T = audio.num_frames; always finite.

    Columns: 0 onset strength, 1-20 MFCC, 21-32 chroma CENS, 33 onset peak (0 or 1), 34 beat (0 or 1). Not normalised.
    Onset strength, peaks and beats are 0 where nothing sounds (`choreo.music.level`).
    """
    librosa = load_librosa()
    samples = audio.at(SAMPLE_RATE).samples
    found = onsets(samples)  # its mel spectrogram is that of the MFCCs as well
    peaks = librosa.onset.onset_detect(onset_envelope=found.envelope, sr=SAMPLE_RATE, hop_length=HOP)
    beats = librosa_beats(found)

    num_frames = audio.num_frames
    features = np.zeros((num_frames, DSP_DIM), np.float32)
    features[:, ONSET] = found.envelope[:num_frames]
    features[:, MFCC] = librosa.feature.mfcc(S=found.decibel, sr=SAMPLE_RATE, n_mfcc=20).T[:num_frames]
    features[:, CHROMA] = _chroma(samples if found.stretches else np.zeros_like(samples))[:num_frames]
    for column, frames in ((ONSET_PEAK, peaks), (BEAT, beats)):
        features[frames[frames < num_frames], column] = 1
    return features


def normalized_onset(onset: NDArray[np.floating]) -> NDArray[np.float32]:
    """Onset strength (T,) in its own units to float32 (T,) in 0..1, by the song's 99th percentile.

    The percentile keeps one loud click from scaling down the rest; the floor of 1 keeps the noise of a near-silent
    recording from looking like rhythm.
    """
    if not len(onset):
        return np.zeros(0, np.float32)
    scale = max(float(np.percentile(onset, 99)), _ONSET_FLOOR)
    return np.clip(np.asarray(onset, np.float64) / scale, 0, 1).astype(np.float32)


def _chroma(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """CENS chroma float32 (frames, 12), zeros for silence."""
    if not samples.any():
        # Tuning cannot be estimated from silence; librosa would warn and return zeros as well.
        return np.zeros((1 + len(samples) // HOP, 12), np.float32)
    librosa = load_librosa()
    with warnings.catch_warnings():  # of sound without pitch, of which librosa says as much and assumes no detuning
        warnings.filterwarnings("ignore", "Trying to estimate tuning from empty frequency set")
        chroma = librosa.feature.chroma_cens(y=samples, sr=SAMPLE_RATE, hop_length=HOP)
    return np.nan_to_num(chroma.T).astype(np.float32)
