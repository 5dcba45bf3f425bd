"""The benchmark of feet: its rows."""

import json

import pytest

from bench.feet import METRICS, main


def test_two_requests(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--quick", "--json"]) == 0
    rows = {(row["case"], row["metric"]): row for row in json.loads(capsys.readouterr().out)["rows"]}
    for state in ("network", "finished"):
        assert all(
            rows[f"fast, {name}, {state}", metric]["value"] >= 0 for name in ("demo", "mean") for metric in METRICS
        )
    assert rows["fast, finished", "milliseconds per window"]["value"] > 0
    assert rows["mocap", "skipped"]["unit"] == "give --data"
