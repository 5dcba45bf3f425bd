"""Weights of the rows of guidance, with one scale and with two."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from choreo.diffusion.guidance import row_weights, separate_scales

SCALES = st.floats(0, 20)


@pytest.mark.parametrize(
    ("scales", "weights"),
    [
        ((2.5,), (2.5, -1.5)),
        ((0.0,), (0.0, 1.0)),
        ((1.0,), (1.0,)),
        ((2.5, 2.0, 4.0), (4.0, -1.0, -2.0)),
        ((2.5, None, 4.0), (4.0, -1.5, -1.5)),
        ((2.5, 4.0, None), (2.5, -3.0, 1.5)),
        ((2.5, 2.5, 2.5), (2.5, -1.5, 0.0)),
        ((9.0, 3.0, 0.0), (0.0, -2.0, 3.0)),
        ((2.5, 1.0, 1.0), (1.0,)),
        ((1.0, None, 2.0), (2.0, 0.0, -1.0)),
        ((1.0, 0.0, 1.0), (1.0, 1.0, -1.0)),
    ],
)
def test_weights_of_known_scales(scales: tuple[float | None, ...], weights: tuple[float, ...]) -> None:
    assert row_weights(*scales) == weights  # type: ignore[arg-type]


@given(SCALES, st.none() | SCALES, st.none() | SCALES)
def test_weights_sum_to_one(scale: float, text: float | None, music: float | None) -> None:
    assert sum(row_weights(scale, text, music)) == pytest.approx(1, abs=1e-12)


@given(SCALES, SCALES, st.lists(st.floats(-4, 4), min_size=3, max_size=3))
def test_the_weighted_rows_are_the_formula(text: float, music: float, predictions: list[float]) -> None:
    full, nothing, text_only = predictions
    weights = np.pad(row_weights(7.0, text, music), (0, 3))[:3]
    expected = nothing + text * (text_only - nothing) + music * (full - text_only)
    assert np.dot(weights, predictions) == pytest.approx(expected, abs=1e-9)


def test_a_scale_that_is_left_out_is_the_common_one() -> None:
    assert separate_scales(2.5, None, None) is None
    assert separate_scales(2.5, 0.0, None) == (0.0, 2.5)
    assert separate_scales(2.5, None, 0.0) == (2.5, 0.0)
