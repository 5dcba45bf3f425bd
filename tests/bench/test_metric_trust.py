"""The benchmark of the trust in metrics: its division of recordings, and its rows on real motion."""

import json

import numpy as np
import pytest
from tests_data import data_pack

from bench.metric_trust import divided, main
from choreo.errors import InvalidInput

GROUPS = ["a"] * 5 + ["b"] * 3 + ["c"] * 4 + ["d"] * 2


@pytest.mark.parametrize("seed", range(8))
def test_no_recording_is_on_both_sides(seed: int) -> None:
    side, rest = divided(GROUPS, 5, np.random.default_rng(seed))
    assert len(side) >= 5
    assert sorted([*side, *rest]) == list(range(len(GROUPS)))
    assert not {GROUPS[row] for row in side} & {GROUPS[row] for row in rest}


@pytest.mark.parametrize("least", [14, 15])
def test_something_must_be_left(least: int) -> None:
    with pytest.raises(InvalidInput, match="data"):
        divided(GROUPS, least, np.random.default_rng(0))


def test_a_short_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", str(data_pack()), "--quick", "--json"]) == 0
    rows = {(row["case"], row["metric"]): row["value"] for row in json.loads(capsys.readouterr().out)["rows"]}
    assert rows["reference", "windows"] > 64
    assert rows["fid_k 64", "mean"] > 0
    assert 0.5 < rows["precision_k 64", "mean"] <= 1
    assert rows["precision_k 64", "spread"] >= 0
