"""Overload: what the benchmark makes of answers. A real server is overloaded in tests/e2e/test_faults.py."""

from bench.overload import Answers, _rows


def test_rows_tell_who_was_refused_and_who_was_in_time() -> None:
    answers = Answers()
    for status, seconds in (("429", 0.01), ("429", 0.03), ("200", 1.0), ("200", 9.0)):
        answers.add(status, seconds)
    values = {(row.metric, row.unit): row.value for row in _rows("4 x", answers, 10.0, 5.0)}
    assert values["429", "callers"] == 2
    assert values["429, p50", "ms"] == 20
    assert values["200, p99", "ms"] == 8920
    assert values["answered within their timeout", "callers"] == 1
    assert values["answered", "callers a second of arrivals"] == 0.2
