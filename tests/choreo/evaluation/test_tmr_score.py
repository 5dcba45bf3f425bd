"""The two TMR scores."""

import numpy as np
import pytest

from choreo.errors import InvalidInput
from choreo.evaluation.tmr_score import tmr_score_clipped, tmr_score_stmc


@pytest.mark.parametrize(("factor", "stmc", "clipped"), [(2, 1, 1), (-1, 0, 0), (0, 0.5, 0)])
def test_golden_values(factor: float, stmc: float, clipped: float) -> None:
    text = np.random.default_rng(0).standard_normal((50, 8))
    assert tmr_score_stmc(text, factor * text) == pytest.approx(stmc)
    assert tmr_score_clipped(text, factor * text) == pytest.approx(clipped)


def test_the_mean_is_clipped_not_the_pairs() -> None:
    text, motion = np.eye(2), np.array([[1.0, 0], [0, -1]])
    assert tmr_score_clipped(text, motion) == 0
    assert tmr_score_stmc(text, motion) == 0.5


def test_broken_pairs_are_refused() -> None:
    for metric in (tmr_score_stmc, tmr_score_clipped):
        with pytest.raises(InvalidInput):
            metric(np.ones((3, 2)), np.ones((2, 2)))
        with pytest.raises(InvalidInput):
            metric(np.ones((0, 2)), np.ones((0, 2)))
