import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import savgol_filter

from choreo.postprocess.savitzky_golay import savitzky_golay


@given(st.integers(1, 12), st.integers(1, 5), st.integers(0, 2), st.integers(0, 40), st.integers(0, 2**32 - 1))
def test_it_is_scipys_filter(half: int, order: int, deriv: int, longer: int, seed: int) -> None:
    window = 2 * half + 1
    order = min(order, window - 1)
    signal = np.random.default_rng(seed).normal(size=(window + longer, 3, 2))
    expected = savgol_filter(signal, window, order, deriv=deriv, axis=0)
    np.testing.assert_allclose(savitzky_golay(signal, window, order, deriv), expected, atol=1e-8)


def test_polynomials_pass_unchanged_and_give_their_slope() -> None:
    t = np.arange(20.0)[:, None]
    parabola = 0.5 * t**2 - 3 * t + 1
    np.testing.assert_allclose(savitzky_golay(parabola, 7, 2), parabola, atol=1e-9)
    np.testing.assert_allclose(savitzky_golay(parabola, 7, 2, deriv=1), t - 3, atol=1e-9)
