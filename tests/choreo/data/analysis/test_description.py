"""A data set is described, and its report written, through the library and the command line."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from dataset_files import dance, write_humanml3d
from tests_data import data_pack

from choreo.data.analysis.clip_facts import ClipFacts
from choreo.data.analysis.description import describe, families
from choreo.data.analysis.report import markdown, write_report
from choreo.data.datasets import open_dataset
from choreo.data.licences import OWN
from choreo.errors import InvalidInput
from choreo.motion.clip import Motion
from choreo.motion.formats.npz import write_npz
from choreo.music.features import DSP_DIM
from serving.cli.main import main

SPLIT = {"train": "000001", "val": "000002", "test": "000003"}


def humanml3d(root: Path) -> Path:
    write_humanml3d(root, tuple(SPLIT.values()))
    for part, name in SPLIT.items():
        (root / f"{part}.txt").write_text(name)
    (root / "texts" / "000002.txt").write_text("a man juggles.#a#0.0#0.0\nhe walks and kicks.#a#0.0#0.0\n")
    return root


def archives(root: Path) -> Path:
    """Two clips in folders, one with music and a licence."""
    for i, name in enumerate(("tap $x$/a|b", "walks/b")):
        path = root / f"{name}.npz"
        path.parent.mkdir(parents=True)
        positions = dance(i).astype(np.float32)
        write_npz(Motion(positions, 30, meta={"licence": OWN} if i else {}), path)
    np.save(root / "walks" / "b.dsp35.npy", np.random.default_rng(0).random((len(positions), DSP_DIM), np.float32))
    (root / "walks" / "b.txt").write_text("a person walks\n")
    return root


def command(*arguments: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Exit status of `choreo data describe`."""
    monkeypatch.setattr(sys, "argv", ["choreo", "data", "describe", *arguments])
    with pytest.raises(SystemExit) as stopped:
        main()
    return int(stopped.value.code or 0)


def test_figures_of_a_data_set_with_captions_and_a_split(tmp_path: Path) -> None:
    found = describe(open_dataset(humanml3d(tmp_path)))
    assert (found["layout"], found["clips"], found["groups"]) == ("humanml3d", 3, 3)
    assert found["lengths"]["quantiles"]["0.5"] == pytest.approx(3.0, abs=0.1)
    assert sum(found["lengths"]["histogram"]["counts"]) == 3
    named = {row["motion"]: row for row in found["captions"]["motions"]}
    assert named["dance"]["clips"] == 2
    assert named["dance"]["dance"]
    assert named["kick"]["captions"] == 1
    assert {row["word"] for row in found["captions"]["other_words"]} == {"juggles"}
    assert found["speeds"][0]["p99"] >= found["speeds"][-1]["p99"] > 0
    assert found["splits"]["origin"] == "published"
    assert [part["clips"] for part in found["splits"]["parts"]] == [1, 1, 1]
    assert found["music"]["clips"] == 0
    assert found["licences"][0]["cleared"] is False
    assert found["families"]["effective"] == 1
    kinds = {row["name"]: row for row in found["trimming"]["kinds"]}
    assert kinds["all"]["length"] == 1  # 3 s are less than 10


def test_figures_of_music_terms_and_families(tmp_path: Path) -> None:
    found = describe(open_dataset(archives(tmp_path)))
    rows = {row["family"]: row for row in found["families"]["rows"]}
    assert rows["walks"]["music"] == rows["walks"]["cleared"] == 1
    assert rows["tap $x$"]["music"] == rows["tap $x$"]["cleared"] == 0
    assert found["music"]["clips"] == 1
    assert found["music"]["share"] == pytest.approx(0.5, abs=0.01)
    assert found["families"]["effective"] == pytest.approx(2, abs=0.01)


def test_balance_counts_families_of_equal_size() -> None:
    def clip(family: str, frames: int) -> ClipFacts:
        return ClipFacts("k", "g", family, OWN, frames, 0, (), frozenset(), np.zeros(frames, np.float32), False)

    assert families([clip("a", 50), clip("b", 50), clip("c", 50)])["effective"] == 3
    uneven = families([clip("a", 900), clip("b", 100)])
    assert 1 < uneven["effective"] < 1.5
    assert [row["share"] for row in uneven["rows"]] == [0.9, 0.1]


def test_a_report_has_tables_and_plots_that_strange_names_do_not_break(tmp_path: Path) -> None:
    description = describe(open_dataset(archives(tmp_path / "data")))
    files = write_report(description, tmp_path / "report")
    assert {path.name for path in files} == {path.name for path in (tmp_path / "report").iterdir()}
    text = (tmp_path / "report" / "report.md").read_text()
    for picture in (path for path in files if path.suffix == ".svg"):
        assert picture.read_text().startswith("<svg")
        assert f"({picture.name})" in text
    assert json.loads((tmp_path / "report" / "description.json").read_text()) == json.loads(json.dumps(description))
    assert "| tap $x$ | 1 |" in text
    assert write_report(description, tmp_path / "report") == files


def test_long_tables_are_cut_and_say_so(tmp_path: Path) -> None:
    description = describe(open_dataset(humanml3d(tmp_path)))
    rows = description["families"]["rows"] * 40
    assert "and 10 more" in markdown(description | {"families": {"effective": 1.0, "rows": rows}})


def test_a_data_set_of_which_nothing_can_be_used(tmp_path: Path) -> None:
    humanml3d(tmp_path)
    for name in SPLIT.values():
        np.save(tmp_path / "new_joints" / f"{name}.npy", np.full((30, 22, 3), np.nan, np.float32))
    with pytest.raises(InvalidInput, match="none of the 3 recordings can be used"):
        describe(open_dataset(tmp_path))


def test_the_command_line_prints_and_writes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = str(humanml3d(tmp_path / "data")), tmp_path / "report"
    assert command(data, "--report", str(out), "--json", "--trim-speed", "0.1", monkeypatch=monkeypatch) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["clips"] == 3
    assert document["trimming"]["rules"]["speed"] == 0.1
    assert document["trimming"]["kinds"][0]["speed"] == 1
    assert all(Path(path).is_file() for path in document["files"])
    assert command(data, "--report", str(out), monkeypatch=monkeypatch) == 0
    assert str(out / "report.md") in capsys.readouterr().out


@pytest.mark.parametrize("trouble", ["data", "report", "limit"])
def test_wrong_input_has_exit_code_2(
    trouble: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = humanml3d(tmp_path / "data"), tmp_path / "report"
    arguments = {"data": [str(tmp_path), "--report", str(out)], "report": [str(data), "--report", str(out)],
                 "limit": [str(data), "--report", str(out), "--trim-speed", "nan"]}[trouble]  # fmt: skip
    if trouble == "report":
        out.write_text("a file")
    assert command(*arguments, monkeypatch=monkeypatch) == 2
    expected = {"data": "none of the known layouts", "report": "is not a folder", "limit": "trim-speed"}[trouble]
    assert expected in capsys.readouterr().err
    assert not out.is_dir()


@pytest.mark.data
def test_the_data_pack() -> None:
    found = describe(open_dataset(data_pack()))
    assert found["clips"] > 300
    assert found["trimming"]["kinds"][0]["speed"] > found["trimming"]["kinds"][1]["speed"]
    assert found["captions"]["motions"][0]["motion"] == "dance"
    assert "foot" in found["speeds"][0]["joint"]
