from typing import Any

import pytest

from loadtest.figures import Spread, Window, figures, percentile
from loadtest.samples import Outcome, Sample


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [
        (range(1, 101), 50, 50), (range(1, 101), 90, 90), (range(1, 101), 99, 99), (range(1, 101), 100, 100),
        (range(1, 1001), 99, 990), ([15, 20, 35, 40, 50], 5, 15), ([15, 20, 35, 40, 50], 30, 20),
        ([15, 20, 35, 40, 50], 40, 20), ([15, 20, 35, 40, 50], 50, 35), ([15, 20, 35, 40, 50], 100, 50),
        ([0.147], 50, 0.147), ([], 50, None),
    ],
)  # fmt: skip
def test_percentiles_are_measured_values_at_their_nearest_rank(values: Any, percent: float, expected: Any) -> None:
    assert percentile(list(values), percent) == expected


def test_a_spread_needs_no_order() -> None:
    assert Spread.of([3.432, 0.1, 0.2]) == Spread(3, 0.2, 3.432, 3.432, 3.432, 3.432)
    assert Spread.of([]) == Spread(0, None, None, None, None, None)


def test_the_warm_up_does_not_count_but_what_it_began_is_throughput(sample: Any) -> None:
    samples = [sample(0, 9), sample(1, 11.5), *(sample(t, t + 1) for t in range(10, 18)), sample(19, 23)]
    found = figures("x", samples, Window(10, 20))
    assert found.requests == found.latency.count == found.outcomes["served"] == 9
    assert (found.latency.p50, found.latency.max) == (1, 4)
    assert found.offered_per_s == 0.9
    assert found.served_per_s == 0.9  # one that began before, and not the one that ended after
    assert found.motion_s_per_s == 0.9


def test_shed_failed_dropped_and_refused_requests_are_told_apart(sample: Any) -> None:
    samples = [
        *(sample(t, t + 0.5 * t) for t in range(1, 5)),
        sample(1, 1.1, Outcome.SHED, error="status 429"),
        sample(1, 1.1, Outcome.FAILED, error="status 500"),
        sample(1, 1.1, Outcome.FAILED, error="status 500"),
        sample(1, 1.1, Outcome.REFUSED, kind="bad: nothing"),
        sample(1, None, Outcome.UNFINISHED),
        Sample.dropped(9, "song", 2),
    ]
    found = figures("x", samples, Window(0, 10), objective_s=1)
    assert (found.shed_rate, found.error_rate, found.drop_rate) == (1 / 8, 2 / 8, 1 / 10)
    assert found.good_share == 2 / 8
    assert found.good_per_s == 0.2
    assert found.latency.count == 4
    assert found.errors == {"prompt: status 500": 2, "prompt: status 429": 1, "song: too many in flight": 1}
    assert found.kinds["bad: nothing"].latency.count == 1
    assert found.kinds["prompt"].requests == 8


def test_lag_is_of_what_was_sent(sample: Any) -> None:
    samples = [*(sample(t, t + 1, started=t + 0.001) for t in range(99)), sample(99, 101, started=99.5)]
    found = figures("x", [*samples, Sample.dropped(100, "song", 3)], Window(0, 100))
    assert found.lag.p99 == pytest.approx(0.001)
    assert found.lag.max == pytest.approx(0.5)
    assert found.latency.max == 2


def test_a_run_without_requests_has_figures() -> None:
    found = figures("x", [], Window(5, 5), objective_s=1)
    assert (found.requests, found.latency.p50, found.offered_per_s, found.good_share) == (0, None, 0, 0)
