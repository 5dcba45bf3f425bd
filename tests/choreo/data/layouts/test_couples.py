from pathlib import Path

import numpy as np
import pytest
from pose_results import synthetic_couple
from tests_data import data_pack

from choreo.data.datasets import open_dataset
from choreo.data.layouts.couples import Couples, couples_arrays, read_couple
from choreo.errors import InvalidInput
from choreo.motion.clip import Motion
from choreo.motion.performance import Performance


def couple(seconds: float = 2.0) -> Performance:
    return Performance(tuple(Motion(p.astype(np.float32)) for p in synthetic_couple(seconds)))


def test_round_trip_and_groups(tmp_path: Path) -> None:
    takes = {"salsa_02": couple(), "x_s0": couple(), "x_s1": couple(1.0)}
    np.savez(tmp_path / "c.npz", **couples_arrays(takes))  # type: ignore[arg-type]
    data = open_dataset(tmp_path)
    assert data.name == "couples"
    assert [data.group_of(key) for key in data.keys] == ["salsa_02", "salsa_02", "x", "x", "x", "x"]
    assert len(list(data)) == 6
    assert not data.skipped
    read = Couples(tmp_path).couple("x_s1")
    np.testing.assert_allclose(read.positions, takes["x_s1"].positions, atol=6e-4)


def test_the_packs_duets_are_read() -> None:
    folder = data_pack() / "duets"
    if not folder.is_dir():
        pytest.skip("the data pack has no duets")
    couples = Couples(folder)
    assert len(couples.takes) == 14
    assert len(couples.couple("salsa_02").dancers) == 2


def test_damaged_archives_are_refused_or_listed(tmp_path: Path) -> None:
    good = couples_arrays({"t": couple()})
    short = good | {"t/b": good["t/b"][:-1]}
    np.savez(tmp_path / "short.npz", **short)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="frames"):
        read_couple(tmp_path / "short.npz", "t")
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_couple(tmp_path / "short.npz", "u")
    (tmp_path / "broken.npz").write_bytes(b"PK")
    with pytest.raises(InvalidInput, match="not a readable"):
        read_couple(tmp_path / "broken.npz", "t")
    assert [skipped.name for skipped in Couples(tmp_path).skipped] == ["broken.npz"]
    np.savez(tmp_path / "text.npz", **{"w/a": np.array(["x"]), "w/b": np.array(["y"])})
    with pytest.raises(InvalidInput, match="type"):
        read_couple(tmp_path / "text.npz", "w")


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InvalidInput, match="two dancers"):
        couples_arrays({"t": Performance.solo(couple().dancers[0])})
    far = couple().dancers[0].positions + 40
    with pytest.raises(InvalidInput, match="32 m"):
        couples_arrays({"t": Performance((Motion(far), Motion(far)))})
