from pathlib import Path

import numpy as np
import pytest
from dataset_files import dance, shape, write_humanml3d

from choreo.data.datasets import open_dataset
from choreo.data.layouts.humanml3d import parse_sentences
from choreo.motion.representation import decode


def test_joints_at_20_fps_become_a_clip_at_30(tmp_path: Path) -> None:
    write_humanml3d(tmp_path)
    (clip,) = open_dataset(tmp_path)
    out = decode(clip.features)
    assert abs(len(out) - len(dance())) <= 2
    error = np.linalg.norm(shape(out) - shape(dance()[: len(out)]), axis=-1)
    assert error.mean() < 0.02
    assert clip.captions[0].text == "a person dances."
    assert (clip.captions[0].start, clip.captions[0].end) == (0, clip.num_frames)


def test_sentences_about_a_part_are_in_frames_of_30_fps(tmp_path: Path) -> None:
    write_humanml3d(tmp_path)
    (tmp_path / "texts" / "000001.txt").write_text(
        "a man bows#a/DET#0.5#1.5\nand rises#x#1.0#99\nall#x#nan#nan\nlate#x#50#60\nbroken\n#x#0.0#0.0\n\n"
    )
    dataset = open_dataset(tmp_path)
    (clip,) = dataset
    assert [(c.text, c.start, c.end) for c in clip.captions] == [
        ("a man bows", 15, 45),
        ("and rises", 30, clip.num_frames),
        ("all", 0, clip.num_frames),
    ]
    assert [s.reason.split(" of ")[0] for s in dataset.skipped] == ["line 4", "line 5", "line 6"]


@pytest.mark.parametrize("line", ["a#b#1#0", "a#b#-1#2", "a#b#inf#inf", "a#b#c#d", "a#b", "a"])
def test_odd_lines_are_remarked_on(line: str) -> None:
    sentences, remarks = parse_sentences([line], 5.0)
    assert not sentences
    assert len(remarks) == 1


def test_mirrored_clips_share_the_group_and_a_clip_needs_no_text(tmp_path: Path) -> None:
    write_humanml3d(tmp_path, ("000001", "M000001"))
    (tmp_path / "texts" / "M000001.txt").unlink()
    clips = list(open_dataset(tmp_path))
    assert {clip.group for clip in clips} == {"000001"}
    assert [len(clip.captions) for clip in clips] == [1, 0]


def test_published_split(tmp_path: Path) -> None:
    write_humanml3d(tmp_path, ("000001", "000002", "000003"))
    for side, name in (("train", "000001"), ("val", "000002"), ("test", "000003")):
        (tmp_path / f"{side}.txt").write_text(f"{name}\n")
    assert open_dataset(tmp_path).split().parts == {"train": ("000001",), "val": ("000002",), "test": ("000003",)}


def test_texts_without_motion_and_broken_arrays_are_named(tmp_path: Path) -> None:
    write_humanml3d(tmp_path)
    joints = tmp_path / "new_joints"
    (tmp_path / "texts" / "000009.txt").write_text("a#b#0#0")
    np.save(joints / "000002.npy", np.full((40, 22, 3), np.nan, np.float32))
    np.save(joints / "000003.npy", np.zeros((40, 21, 3), np.float32))
    np.save(joints / "000004.npy", np.array([{}], object), allow_pickle=True)
    np.save(joints / "000005.npy", np.zeros((40, 22, 3), np.float32))
    (joints / "000006.npy").write_bytes((joints / "000001.npy").read_bytes()[:200])
    (joints / "000007.npy").write_bytes(b"nothing")
    np.save(joints / "000008.npy", dance()[:5])
    dataset = open_dataset(tmp_path)
    assert [clip.key for clip in dataset] == ["000001"]
    reasons = {s.name: s.reason for s in dataset.skipped}
    assert reasons.pop("texts/000009.txt") == "has no motion"
    assert sorted(reasons) == [f"00000{n}" for n in range(2, 9)]
    for name, part in (("2", "NaN"), ("3", "shape"), ("5", "legs"), ("6", "cut off"), ("8", "0.5 s")):
        assert part in reasons[f"00000{name}"]


def test_a_header_that_lies_takes_no_memory(tmp_path: Path) -> None:
    write_humanml3d(tmp_path)
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (100000000000, 22, 3), }".ljust(117) + b"\n"
    (tmp_path / "new_joints" / "000002.npy").write_bytes(b"\x93NUMPY\x01\x00\x76\x00" + header + bytes(100))
    dataset = open_dataset(tmp_path)
    assert [clip.key for clip in dataset] == ["000001"]
    assert "cut off" in dataset.skipped[0].reason
