from typing import Any

import pytest

from loadtest.figures import Figures, Window, figures
from loadtest.samples import Outcome
from loadtest.thresholds import Thresholds, distrusted


@pytest.fixture
def found(sample: Any) -> Figures:
    """Ten requests of 0.1 to 1 s in ten seconds, of which one failed and one was shed."""
    served = [sample(i / 2, i / 2 + (i + 1) / 10) for i in range(8)]
    wrong = [sample(8, 8.1, Outcome.FAILED, error="status 500"), sample(9, 9.1, Outcome.SHED, error="status 429")]
    return figures("2/s", [*served, *wrong], Window(0, 10))


@pytest.mark.parametrize(
    ("bounds", "names"),
    [
        ({}, ["error-rate"]),
        ({"error_rate": 0.1}, []),
        ({"error_rate": 0.09}, ["error-rate"]),
        ({"error_rate": None, "p50": 0.4, "p95": 0.8, "p99": 0.8, "shed_rate": 0.1, "min_throughput": 0.8}, []),
        ({"error_rate": None, "p50": 0.39, "p95": 0.79, "p99": 0.79}, ["p50", "p95", "p99"]),
        ({"error_rate": None, "shed_rate": 0.0, "min_throughput": 0.81}, ["shed-rate", "throughput"]),
    ],
)
def test_a_line_names_each_bound_that_was_missed(found: Figures, bounds: Any, names: list[str]) -> None:
    lines = Thresholds(**bounds).missed(found)
    assert [line.split(": ")[:2] for line in lines] == [["2/s", name] for name in names]


def test_a_run_in_which_nothing_happened_misses() -> None:
    empty = figures("2/s", [], Window(0, 10))
    assert "no request" in Thresholds(error_rate=None).missed(empty)[0]


def test_where_nothing_was_served_every_latency_is_missed(sample: Any) -> None:
    found = figures("2/s", [sample(1, 2, Outcome.SHED, error="status 429")], Window(0, 10))
    assert Thresholds(p95=9).missed(found) == ["2/s: p95: nothing was served"]


def test_a_late_generator_is_not_trusted(sample: Any) -> None:
    late = [sample(t, t + 1, started=t + 0.02) for t in range(9)]
    found = figures("2/s", late, Window(0, 10))
    assert distrusted(found, 0.05) is None
    assert "20.0 ms (p99, bound 10 ms)" in str(distrusted(found, 0.01))
    seldom = figures("2/s", [*(sample(t / 10, t) for t in range(300)), sample(3, 5, started=4)], Window(0, 100))
    assert "(max" in str(distrusted(seldom, 0.05))
