"""Intervals."""

import numpy as np
import pytest

from choreo.errors import InvalidInput
from choreo.evaluation.intervals import half_sampling, mean_interval, share_interval


def test_replications() -> None:
    values = np.arange(20.0)
    found = mean_interval(values)
    assert (found.value, found.n) == (9.5, 20)
    assert found.half == pytest.approx(1.96 * values.std(ddof=1) / np.sqrt(20))
    assert mean_interval([3.0]).half is None
    assert mean_interval([2.0, 2.0]).half == 0


def test_a_share() -> None:
    hits = np.repeat([0.0, 1.0], [300, 100])
    assert share_interval(0.25, 400) == pytest.approx(mean_interval(hits).half, rel=0.01)


def test_halves_of_a_set_vary_around_it_as_it_does_around_the_truth() -> None:
    values = np.random.default_rng(0).standard_normal(500)
    expected = mean_interval(values).half
    assert half_sampling(lambda rows: values[rows].mean(), 500, draws=2000) == pytest.approx(expected, rel=0.1)
    both = half_sampling(lambda rows: (values[rows].mean(), 2 * values[rows].mean()), 500)
    assert both[1] == pytest.approx(2 * both[0])


def test_no_row_is_drawn_twice_and_the_seed_decides() -> None:
    def distinct(rows: np.ndarray) -> float:
        assert len(set(rows)) == len(rows) == 5
        return float(rows.sum())

    assert half_sampling(distinct, 11, seed=3) == half_sampling(distinct, 11, seed=3)


def test_nothing_and_nan_are_refused() -> None:
    for bad in ([], [1.0, np.nan]):
        with pytest.raises(InvalidInput):
            mean_interval(bad)
    with pytest.raises(InvalidInput):
        half_sampling(lambda rows: 0.0, 3)
