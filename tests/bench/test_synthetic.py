"""The benchmark of step dances: its rows."""

import json

import pytest

from bench.synthetic import METRICS, main
from choreo.data.synthetic.step_dances.catalogue import STEP_DANCES


def test_one_dance_of_each_kind(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--quick", "--json"]) == 0
    rows = {(row["case"], row["metric"]): row for row in json.loads(capsys.readouterr().out)["rows"]}
    for name in STEP_DANCES:
        assert all(rows[name, metric]["value"] >= 0 for metric in METRICS)
        assert rows[name, "kinetic energy"]["value"] > 0.1
        assert 0 < rows[name, "beat alignment"]["value"] <= 1
        assert rows[name, "seconds per dance"]["value"] > 0
    assert rows["mocap", "skipped"]["unit"] == "give --data"
