"""The spectrum that BeatNet hears: numbers of the software that it was trained with, and any length of song."""

import numpy as np
import pytest
from pulses import pulses

from choreo.music.beat_tracking.spectrum import BANDS, HOP, SAMPLE_RATE, log_spectrum

GOLDEN = {
    (0, 0): 0.90709, (0, 52): 0.09147, (13, 52): 0.10043, (13, 53): 0.09464, (25, 188): 0.06101, (26, 188): 0.01756,
    (38, 70): 0.03674, (25, 110): 0.0306, (49, 20): 0.0,
}  # fmt: skip
"""Frame and band of `pulses`, as madmom 0.16 has them."""


def test_the_published_numbers() -> None:
    spectrum = log_spectrum(pulses(SAMPLE_RATE))
    assert (spectrum.shape, spectrum.dtype) == ((50, 2 * BANDS), np.float32)
    for place, value in GOLDEN.items():
        assert spectrum[place] == pytest.approx(value, abs=1e-5)
    assert spectrum.sum() == pytest.approx(775.45874, rel=1e-5)
    assert spectrum[:, BANDS:].sum() == pytest.approx(166.94211, rel=1e-5)


def test_the_second_half_is_the_rise_of_the_first() -> None:
    spectrum = log_spectrum(pulses(SAMPLE_RATE))
    bands, rise = spectrum[:, :BANDS], spectrum[:, BANDS:]
    np.testing.assert_array_equal(rise[0], 0)
    np.testing.assert_array_equal(rise[1:], np.maximum(np.diff(bands, axis=0), 0))


@pytest.mark.parametrize("length", [0, 1, HOP, HOP + 1, 1100 * HOP])
def test_every_length_and_silence(length: int) -> None:
    spectrum = log_spectrum(np.zeros(length, np.float32))
    assert spectrum.shape == (-(-length // HOP), 2 * BANDS)
    assert not spectrum.any()


def test_frames_do_not_depend_on_how_many_there_are() -> None:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 1200 * HOP).astype(np.float32)
    np.testing.assert_allclose(log_spectrum(noise)[:500], log_spectrum(noise[: 510 * HOP])[:500], atol=1e-6)
