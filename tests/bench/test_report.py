import json
import mmap

import pytest

from bench.report import Row, anonymous_mib, seconds, show, skipped


def test_the_document_names_machine_command_and_rows(capsys: pytest.CaptureFixture[str]) -> None:
    show(
        "retrieval",
        ["--quick", "--json"],
        [Row("flat 10", "recall@10", 1.0, ""), skipped("gpu", "there is none")],
        True,
    )
    document = json.loads(capsys.readouterr().out)
    assert document["command"] == "choreo bench retrieval --quick --json"
    assert document["machine"]["cores"] >= 1
    assert "numpy" in document["machine"]["packages"]
    assert document["rows"] == [
        {"case": "flat 10", "metric": "recall@10", "value": 1.0, "unit": ""},
        {"case": "gpu", "metric": "skipped", "value": None, "unit": "there is none"},
    ]


def test_numbers_that_are_none_are_never_written(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="JSON"):
        show("x", [], [Row("a", "b", float("nan"), "")], True)
    assert capsys.readouterr().out == ""


def test_people_get_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    show("x", [], [Row("flat", "rate", 12345.678, "queries/s")], False)
    assert "1.235e+04" in capsys.readouterr().out


def test_work_is_repeated_and_the_warm_up_does_not_count() -> None:
    calls: list[int] = []
    assert len(seconds(lambda: calls.append(1), repeats=4, warm_up=2)) == 4
    assert len(calls) == 6


def test_anonymous_memory_grows_with_what_is_allocated() -> None:
    before = anonymous_mib()
    with mmap.mmap(
        -1, 64 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    ) as held:  # not memory that was freed before
        held.write(b"x" * len(held))
        assert anonymous_mib() - before > 48
