"""The benchmark of duets: its controls, and a short run on the data pack."""

import json
from pathlib import Path

import numpy as np
import pytest
from small_duet import couples, save_small_duet
from tests_data import data_pack

from bench.duets import controls, main, measured, nearest_partner


def test_the_nearest_partner_of_a_training_leader_is_their_own() -> None:
    training = couples()
    both = training[1].dancers
    np.testing.assert_allclose(nearest_partner(both[0, :60], training), both[1, :60], atol=1e-3)
    assert nearest_partner(both[0, :75], training).shape == (75, 22, 3)


def test_controls_keep_their_leaders() -> None:
    true = [couple.dancers for couple in couples()]
    found = controls(true, couples())
    assert set(found) == {"partner of another", "a second late", "mirror image", "nearest training partner"}
    for name, some in found.items():
        for made, both in zip(some, true, strict=True):
            first = 30 if name == "a second late" else 0
            np.testing.assert_array_equal(made[0], both[0, first : first + made.shape[1]])
    table = measured(found["mirror image"], true)
    assert table["bed"][0] == 1


@pytest.mark.slow
@pytest.mark.data
def test_quick_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = save_small_duet(tmp_path / "small-duet")
    arguments = ["--data", str(data_pack()), "--checkpoint", str(model), "--part", "val", "--quick", "--json"]
    assert main(arguments) == 0
    rows = {(row["case"], row["metric"]): row["value"] for row in json.loads(capsys.readouterr().out)["rows"]}
    assert rows["true", "fid_cd"] == pytest.approx(0, abs=1e-3)
    assert rows["true", "distance shift"] == 0
    assert {case for case, _ in rows} >= {"true", "small-duet", "small-duet, raw", "mirror image", "a second late"}
