"""From a folder in any known layout to a trained model; what of it is skipped is named."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from dataset_files import write_amass, write_humanml3d
from tests_data import data_pack
from tiny_text_motion import FakeSentenceEncoder
from tiny_training import recipe

import choreo.text.minilm
import choreo.training.windowed
from choreo.data.layouts.packs import DataPack, is_validation
from choreo.errors import InvalidInput
from choreo.generators.checkpoint import load_generator
from choreo.generators.unet.recipe import UNetRecipe
from choreo.training.run import train
from choreo.training.splits import read_splits

NAMES = ("000001", "000002", "000003", "000004", "000005")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """HumanML3D: three clips to train on, one held out, one for tests; captions, and no music at all."""
    root = tmp_path / "data"
    write_humanml3d(root, NAMES)
    for side, names in (("train", NAMES[:3]), ("val", NAMES[3:4]), ("test", NAMES[4:])):
        (root / f"{side}.txt").write_text("\n".join(names))
    return root


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> UNetRecipe:
    """A recipe for two steps, whose sentences are embedded by a fake."""
    monkeypatch.setattr(choreo.text.minilm, "MiniLmEncoder", FakeSentenceEncoder)
    monkeypatch.setattr(choreo.training.windowed, "VALIDATION_WINDOWS", 4)
    small = recipe(max_steps=2, validate_every=2, save_every=2, validation_dances=2)
    conditioner = small.conditioner.model_copy(update={"text_dim": FakeSentenceEncoder.dim})
    return small.model_copy(update={"conditioner": conditioner})


def test_training_on_another_layout(tmp_path: Path, folder: Path, tiny: UNetRecipe) -> None:
    model = train(tiny, folder, tmp_path / "run")
    assert load_generator(model).spec.name == "test"
    summary = json.loads((tmp_path / "run/data.json").read_text())
    assert summary["data_set"] == "humanml3d, published split"
    assert summary["training"]["groups"] == list(NAMES[:3])
    assert summary["validation"]["groups"] == list(NAMES[3:4])
    assert summary["skipped"] == []
    assert json.loads((model / "scores.json").read_text())["fid_k"] >= 0


def test_captions_are_not_needed(tmp_path: Path, folder: Path, tiny: UNetRecipe) -> None:
    for path in (folder / "texts").iterdir():
        path.unlink()
    assert load_generator(train(tiny, folder, tmp_path / "run"))


def test_what_cannot_be_used_is_named_and_written_down(
    tmp_path: Path, folder: Path, tiny: UNetRecipe, caplog: pytest.LogCaptureFixture
) -> None:
    np.save(folder / "new_joints/000001.npy", np.full((60, 22, 3), np.nan))
    (folder / "new_joints/000002.npy").write_bytes(b"\x93NUMPY")
    (folder / "texts/000009.txt").write_text("a person waves.##0#0\n")
    with caplog.at_level(logging.WARNING):
        train(tiny, folder, tmp_path / "run")
    skipped = json.loads((tmp_path / "run/data.json").read_text())["skipped"]
    assert {s["name"]: s["reason"] for s in skipped} == {
        "texts/000009.txt": "has no motion",
        "000001": "holds NaN or infinite coordinates",
        "000002": "000002.npy is not an array of numbers, or is cut off",
    }
    assert "3 parts of" in caplog.text
    assert "000001 holds NaN" in caplog.text


def test_a_side_with_nothing_left_is_refused(folder: Path) -> None:
    np.save(folder / "new_joints/000004.npy", np.full((60, 22, 3), np.nan))
    with pytest.raises(InvalidInput, match=r"nothing in the split 'val' of .* can be used: 000004 holds NaN") as error:
        read_splits(folder)
    assert error.value.field == "data"


def test_a_published_split_without_a_side_here_is_divided_anew(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "val.txt").write_text("")
    sides = read_splits(folder)
    assert sides.origin == "humanml3d, hash split"
    assert {c.key for c in sides.training} | {c.key for c in sides.held_out} == set(NAMES[:3])
    assert sides.training
    assert sides.held_out
    assert "has no recording here" in caplog.text


@pytest.mark.parametrize("takes", [2, 3, 5])
def test_a_few_takes_are_enough_whichever_of_them_cannot_be_read(tmp_path: Path, takes: int) -> None:
    for bad in range(takes + 1):
        root = tmp_path / f"data{bad}"
        write_humanml3d(root, NAMES[:takes])
        unreadable = NAMES[:takes][bad : bad + 1] if takes > 2 else ()
        for name in unreadable:
            (root / f"new_joints/{name}.npy").write_bytes(b"\x93NUMPY")
        sides = read_splits(root)
        read = [clip.key for clip in (*sides.training, *sides.held_out)]
        assert len(read) == len(set(read))
        assert not set(read) & set(unreadable)
        assert sides.training
        assert sides.held_out


def test_takes_that_are_too_short_for_a_window_do_not_leave_a_side_empty(tmp_path: Path) -> None:
    write_humanml3d(tmp_path, NAMES)
    for name in NAMES[:3]:
        path = tmp_path / f"new_joints/{name}.npy"
        np.save(path, np.load(path)[:20])
    sides = read_splits(tmp_path)
    assert {c.key for c in sides.training if c.num_frames >= 45} | {c.key for c in sides.held_out} >= set(NAMES[3:])
    for name in NAMES[3:]:
        (tmp_path / f"new_joints/{name}.npy").unlink()
    with pytest.raises(InvalidInput, match=r"has 29 frames, and the shortest window 45; .* of 1\.5 s or more"):
        read_splits(tmp_path)


def test_one_take_is_cut_in_time(tmp_path: Path, folder: Path, tiny: UNetRecipe) -> None:
    one = tmp_path / "one"
    write_humanml3d(one, NAMES[:1])
    path = one / f"new_joints/{NAMES[0]}.npy"
    np.save(path, np.tile(np.load(path), (8, 1, 1)))
    sides = read_splits(one)
    assert sides.origin == "humanml3d, one song or take, cut in time"
    (training,), (held_out,) = sides.training, sides.held_out
    assert training.group == held_out.group
    (first, last), (start, end) = (tuple(map(int, c.key.split("[")[1][:-1].split(":"))) for c in (training, held_out))
    assert first == 0
    assert start - last == 30
    assert held_out.num_frames == end - start >= 196 / 2
    assert load_generator(train(tiny, one, tmp_path / "run")).spec.name == "test"
    np.save(path, np.load(path)[:60])
    with pytest.raises(InvalidInput, match=r"is the only song or take, and its 3\.0 s .* need 4\.0 s together; add"):
        read_splits(one)


def test_folders_that_cannot_be_split_or_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="is not a folder"):
        read_splits(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidInput, match="none of the known layouts"):
        read_splits(tmp_path / "empty")
    write_amass(tmp_path / "one")
    with pytest.raises(InvalidInput, match=r"is the only song or take, and its 3\.0 s are too short"):
        read_splits(tmp_path / "one")


def test_a_recipe_for_other_features_is_refused(tmp_path: Path, folder: Path, tiny: UNetRecipe) -> None:
    wider = tiny.model_copy(update={"conditioner": tiny.conditioner.model_copy(update={"text_dim": 768})})
    with pytest.raises(InvalidInput, match="is 768, but the encoder minilm gives 12 numbers") as error:
        train(wider, folder, tmp_path / "run")
    assert error.value.field == "conditioner.text_dim"
    assert not (tmp_path / "run").exists()


@pytest.mark.data
def test_the_data_pack_is_read_as_it_always_was(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = ("05_02", "02_03", "W_4_s0", "C_2_s0", "T_2_s0")
    pack = DataPack(data_pack())
    monkeypatch.setattr(DataPack, "keys", property(lambda self: [k for k in self._pack_of if k in wanted]))
    sides = read_splits(data_pack())
    assert sides.origin == "data-pack, published split"
    read = {clip.key: clip for clip in [*sides.training, *sides.held_out]}
    assert {clip.key for clip in sides.held_out} == {key for key in read if is_validation(read[key].group)}
    assert [clip.key for clip in sides.training] == [k for k in pack.keys if not is_validation(read[k].group)]
    for key, clip in read.items():
        recording = pack.recording(key)
        assert clip.captions == recording.captions
        assert clip.residual == pytest.approx(recording.residual)
        assert (clip.music is None) == (recording.music is None)
        if recording.music is not None:
            np.testing.assert_array_equal(clip.music, recording.music)
            assert len(clip.music) == clip.num_frames == len(recording.positions)
