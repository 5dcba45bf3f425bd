import json
from pathlib import Path

import numpy as np
import pytest
from pose_results import damaged, people, synthetic_couple, write_results

from choreo.data.datasets import open_dataset
from choreo.data.layouts.couples import read_couple
from choreo.data.poses import writing
from choreo.data.poses.importing import Imported, ImportOptions, import_results
from choreo.data.poses.writing import write_import
from choreo.errors import InvalidInput, NotSaved


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Imported:
    given = damaged(synthetic_couple(), ("missing", "swapped"))
    return import_results(write_results(tmp_path_factory.mktemp("poses") / "r.json", people(given)))


def test_a_couple_is_read_back_as_a_data_set(tmp_path: Path, imported: Imported) -> None:
    files = write_import(imported, tmp_path / "new" / "data", "tango_1")
    assert [path.name for path in files] == ["tango_1.npz", "tango_1.html", "tango_1.json"]
    data = open_dataset(tmp_path / "new" / "data")
    assert (data.name, data.keys) == ("couples", ("tango_1/a", "tango_1/b"))
    assert len(list(data)) == 2
    couple = read_couple(files[0], "tango_1")
    np.testing.assert_allclose(couple.positions, imported.takes[""].positions, atol=6e-4)
    assert json.loads(files[2].read_text())["people"] == 2
    assert not list(tmp_path.glob("**/*.part"))


def test_the_page_needs_nothing_else(tmp_path: Path, imported: Imported) -> None:
    page = write_import(imported, tmp_path, "a")[1].read_text()
    assert "<svg" in page
    assert "data:image/png;base64," in page
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "<script" not in page


def test_a_second_import_stands_next_to_the_first(tmp_path: Path, imported: Imported) -> None:
    write_import(imported, tmp_path, "one")
    write_import(imported, tmp_path, "two")
    data = open_dataset(tmp_path)
    assert {data.group_of(key) for key in data.keys} == {"one", "two"}


def test_a_solo_is_a_motion_archive(tmp_path: Path) -> None:
    given = damaged(synthetic_couple(), ())
    given.seen[1] = False
    results = write_results(tmp_path / "r.json", people(given))
    write_import(import_results(results, ImportOptions(people=1)), tmp_path / "data", "solo")
    data = open_dataset(tmp_path / "data")
    assert (data.name, data.keys) == ("npz", ("solo",))


@pytest.mark.parametrize("name", ["", "../x", "a b", "x_s1", "a" * 65])
def test_names_that_cannot_be_files_are_refused(tmp_path: Path, imported: Imported, name: str) -> None:
    with pytest.raises(InvalidInput, match="name"):
        write_import(imported, tmp_path / "data", name)
    assert not (tmp_path / "data").exists()


def test_nothing_is_left_where_writing_fails(
    tmp_path: Path, imported: Imported, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInput, match="not a folder"):
        write_import(imported, tmp_path / "file", "a")

    def full(path: Path, data: bytes) -> None:
        if path.suffix == ".json":
            raise OSError(28, "No space left on device")
        path.write_bytes(data)

    monkeypatch.setattr(writing, "atomic_write", full)
    with pytest.raises(NotSaved):
        write_import(imported, tmp_path / "data", "a")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]
