import numpy as np
import pytest

from choreo.evaluation.scorecard import Row
from serving.evaluation.replications import combined, seeds_apart


def row(value: float) -> Row:
    return Row(metric="jerk_m_s3", subject="generated", value=value, ci95=0.5, n=8, note="few")


def test_replications_become_a_mean_and_their_spread() -> None:
    (found,) = combined([[row(1.0)], [row(2.0)], [row(3.0)]])
    assert (found["value"], found["n"]) == (2.0, 8)
    assert found["ci95"] == pytest.approx(1.96 / 3**0.5)
    assert found["note"] == "±0.5 within one of 3 replications; few"


def test_one_replication_stays_as_it_is() -> None:
    assert combined([[row(1.0)]]) == [row(1.0)]


def test_seeds_of_one_stretch_are_compared_and_stretches_are_not() -> None:
    first = np.array([[0.0, 0], [100, 0]], np.float32)
    found = seeds_apart([first, first + np.float32([3, 4])], "generated")
    assert (found["value"], found["n"]) == (5.0, 2)
    assert seeds_apart([first, first], "generated")["value"] == 0


def test_a_metric_that_one_replication_lacks_is_left_out() -> None:
    assert combined([[row(1.0)], []]) == []
