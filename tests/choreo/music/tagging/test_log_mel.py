"""The spectrum of the tagger: equal to librosa's."""

import numpy as np
import pytest

from choreo.music.compiling import load_librosa
from choreo.music.tagging.log_mel import log_mel


@pytest.mark.parametrize("length", [1, 255, 256, 20_000])
def test_equals_librosa(length: int) -> None:
    samples = np.random.default_rng(0).normal(0, 0.2, length).astype(np.float32)
    mel = load_librosa().feature.melspectrogram(y=samples, sr=16_000, hop_length=256, n_fft=512, n_mels=96).T
    spectrum = log_mel(samples)
    assert (spectrum.shape, spectrum.dtype) == ((length // 256 + 1, 96), np.float32)
    np.testing.assert_allclose(spectrum, np.log10(10_000 * mel + 1), atol=1e-4)
