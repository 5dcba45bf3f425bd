import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from loadtest.arrivals import poisson


@given(st.floats(0.5, 200), st.floats(1, 60), st.integers(0, 2**32))
def test_arrivals_ascend_within_the_time_and_come_at_their_rate(rate: float, seconds: float, seed: int) -> None:
    arrivals = poisson(rate, seconds, seed)
    assert (np.diff(arrivals) >= 0).all()
    assert ((arrivals >= 0) & (arrivals < seconds)).all()
    mean = rate * seconds
    assert abs(len(arrivals) - mean) < 7 * np.sqrt(mean) + 7


def test_the_same_seed_gives_the_same_arrivals_and_another_one_others() -> None:
    assert np.array_equal(poisson(5, 20, 3), poisson(5, 20, 3))
    assert not np.array_equal(poisson(5, 20, 3), poisson(5, 20, 4)[: len(poisson(5, 20, 3))])


def test_gaps_are_those_of_a_process_without_memory() -> None:
    gaps = np.diff(poisson(100, 1000, 0))
    assert abs(gaps.mean() - 0.01) < 2e-4
    assert abs(gaps.std() / gaps.mean() - 1) < 0.02
    assert abs((gaps > 0.01).mean() - np.exp(-1)) < 0.01
