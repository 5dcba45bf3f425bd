"""The benchmark of pose VAEs."""

import json
from pathlib import Path

import numpy as np
import pytest
from tests_data import data_pack
from tiny_text_motion import swinging

from bench.poses import PICTURE, main, resampled, turned


def test_quick_run_measures_both_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", str(data_pack()), "--quick", "--json", "--report", str(tmp_path)]) == 0
    rows = {(row["case"], row["metric"]): row["value"] for row in json.loads(capsys.readouterr().out)["rows"]}
    for name in ("pose-graph", "pose-mlp"):
        assert rows[name, "mpjpe, low"] < rows[name, "mpjpe"] < rows[name, "mpjpe, high"]
    assert abs(rows["pose-mlp", "parameters"] / rows["pose-graph", "parameters"] - 1) <= 0.05
    assert (tmp_path / PICTURE).read_text().startswith("<svg")


def test_the_interval_of_equal_recordings_is_a_point() -> None:
    assert resampled([np.full(3, 5.0), np.full(7, 5.0)]) == (5.0, 5.0)


def test_turned_poses_begin_and_end_where_they_should() -> None:
    first, last = (p - p[:1] for p in swinging(0)[[0, 9]])
    between = turned(first, last, 5)
    np.testing.assert_allclose(between[[0, -1]], [first, last], atol=1e-6)
