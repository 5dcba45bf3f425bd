"""The 35-d music features at 30 fps, computed by librosa 0.11 with its defaults at 15360 Hz and hop 512.

Columns and parameters are those of EDGE's baseline features (Tseng et al. 2023), as in the training data. Beats are
those of whichever tracker heard them.
"""

import warnings

import numpy as np
from numpy.typing import ArrayLike, NDArray

from choreo.music.audio import FRAME_RATE, SAMPLE_RATE, Audio
from choreo.music.compiling import load_librosa
from choreo.music.onsets import HOP, onsets

DSP_DIM = 35
ONSET = 0
MFCC = slice(1, 21)
CHROMA = slice(21, 33)
ONSET_PEAK = 33
BEAT = 34

_ONSET_FLOOR = 1.0


def dsp35(audio: Audio, beats: ArrayLike = ()) -> NDArray[np.float32]:
    """Features float32 (T, 35) with T = audio.num_frames; always finite.

    Args:
        audio: the song.
        beats: its beats in seconds (n,), for their column (`choreo.music.beat_tracking.heard`).

    Columns: 0 onset strength, 1-20 MFCC, 21-32 chroma CENS, 33 onset peak (0 or 1), 34 beat (0 or 1). Not normalised.
    Onset strength and peaks are 0 where nothing sounds (`choreo.music.level`).
    """
    librosa = load_librosa()
    samples = audio.at(SAMPLE_RATE).samples
    found = onsets(samples)  # its mel spectrogram is that of the MFCCs as well
    peaks = librosa.onset.onset_detect(onset_envelope=found.envelope, sr=SAMPLE_RATE, hop_length=HOP)

    num_frames = audio.num_frames
    features = np.zeros((num_frames, DSP_DIM), np.float32)
    features[:, ONSET] = found.envelope[:num_frames]
    features[:, MFCC] = librosa.feature.mfcc(S=found.decibel, sr=SAMPLE_RATE, n_mfcc=20).T[:num_frames]
    features[:, CHROMA] = _chroma(samples if found.stretches else np.zeros_like(samples))[:num_frames]
    features[peaks[peaks < num_frames], ONSET_PEAK] = 1
    return with_beats(features, beats)


def with_beats(features: NDArray[np.float32], beats: ArrayLike) -> NDArray[np.float32]:
    """Features (T, D) with the beats (n,), in seconds, in their column; those without such a column as they are."""
    if features.shape[1] != DSP_DIM:
        return features
    marked = features.copy()
    marked[:, BEAT] = 0
    frames = np.rint(np.asarray(beats, np.float64).reshape(-1) * FRAME_RATE).astype(np.int64)
    marked[np.minimum(frames, len(marked) - 1), BEAT] = 1
    return marked


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
