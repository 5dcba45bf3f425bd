import hashlib
import io
import json
import os
import pickle
import zipfile

import numpy as np
import pytest

from choreo.errors import InvalidInput
from choreo.motion.clip import Motion
from choreo.motion.formats.bvh import read_bvh
from choreo.motion.formats.formats import FORMATS, Format, encode, format_named, format_of_file, write
from choreo.motion.formats.npz import read_npz
from choreo.motion.performance import Performance
from choreo.motion.skeleton import NUM_JOINTS

GOLDEN = {"json": "feceb0ad1e89707a", "npz": "9742a3f4068f2584", "bvh": "2917c63028cf4ce4"}
"""First digits of the SHA-256 of the files; of npz, of its members' names and contents."""


def exact_motion() -> Motion:
    """Two frames of numbers that every processor and every library computes alike: quarter turns and binary fractions.

    The positions need not be those of the rotations: writers do not compare them.
    """
    rng = np.random.default_rng(0)
    positions = (rng.integers(-512, 512, (2, NUM_JOINTS, 3)) / 256).astype(np.float32)
    turn = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]], np.float32)
    rotations = np.tile(np.eye(3, dtype=np.float32), (2, NUM_JOINTS, 1, 1))
    rotations[1, ::2] = turn
    return Motion(positions, 30, rotations, {"seed": 7, "prompt": "a slow waltz", "nested": {"a": [1, None]}})


def test_every_format_has_a_media_type_and_a_suffix():
    for fmt in FORMATS:
        kind, _, subtype = fmt.media_type.partition("/")
        assert kind in ("application", "video", "model", "text")
        assert subtype
        assert fmt.suffix == (".amass.npz" if fmt is Format.AMASS else f".{fmt}")
    assert [fmt.name for fmt in FORMATS] == ["json", "npz", "bvh", "mp4", "glb", "amass", "csv", "vrma", "fbx"]
    assert len({fmt.suffix for fmt in FORMATS}) == len({fmt.media_type for fmt in FORMATS}) == len(FORMATS)
    assert [fmt.name for fmt in FORMATS if fmt.needs_audio] == ["mp4"]
    assert (
        Format.JSON,
        Format.NPZ,
        Format.BVH,
        Format.MP4,
        Format.GLB,
        Format.AMASS,
        Format.CSV,
        Format.VRMA,
        Format.FBX,
    ) == FORMATS


@pytest.mark.parametrize("name", ["bvh", "BVH", ".bvh", " bvh\n"])
def test_names(name):
    assert format_named(name) is Format.named(name) is Format.BVH


@pytest.mark.parametrize("name", ["", "exe", "json.npz", "x" * 10_000])
def test_unknown_names_name_the_field_and_what_there_is(name):
    with pytest.raises(InvalidInput, match="json, npz, bvh, mp4, glb, amass, csv, vrma, fbx") as error:
        format_named(name, "formats")
    assert error.value.field == "formats"
    assert len(error.value.message) < 110


@pytest.mark.parametrize(
    ("name", "fmt"),
    [("a.glb", "glb"), ("A.GLB", "glb"), ("a.npz", "npz"), ("a.amass.npz", "amass"), ("amass.npz", "npz")],
)
def test_a_file_name_says_its_format(name, fmt):
    assert format_of_file(name) is Format.named(fmt)


@pytest.mark.parametrize("name", ["", "glb", "a.usd", "a.glb.gz", "x" * 9000])
def test_file_names_of_no_format(name):
    with pytest.raises(InvalidInput, match=r"\.glb, \.amass\.npz") as error:
        format_of_file(name, "out")
    assert error.value.field == "out"
    assert len(error.value.message) < 150


@pytest.mark.parametrize("fmt", FORMATS, ids=str)
def test_a_format_is_itself_after_a_pickle(fmt):
    assert pickle.loads(pickle.dumps({"format": fmt}))["format"] is fmt
    assert {fmt: 1}[Format.named(fmt.name)] == 1


@pytest.mark.parametrize("fmt", [Format.JSON, Format.NPZ, Format.BVH], ids=str)
def test_the_bytes_of_a_solo_do_not_change(fmt):
    data = encode(exact_motion(), fmt)
    assert data == encode(Performance.solo(exact_motion()), fmt)
    if fmt is Format.NPZ:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            data = b"".join(name.encode() + archive.read(name) for name in archive.namelist())
    assert hashlib.sha256(data).hexdigest()[:16] == GOLDEN[fmt.name]


def test_all_formats_hold_the_same_positions(make_motion):
    motion = make_motion(frames=12)
    from_json = np.array(json.loads(encode(motion, Format.JSON))["motion"])
    from_npz = read_npz(encode(motion, Format.NPZ)).positions
    from_bvh = read_bvh(encode(motion, Format.BVH)).positions
    assert np.abs(from_json - from_npz).max() < 1e-3
    assert np.abs(from_bvh - from_npz).max() < 1e-3


@pytest.mark.parametrize("fmt", [fmt for fmt in FORMATS if not fmt.needs_blender], ids=str)
def test_write_and_encode_agree(make_motion, tmp_path, fmt):
    motion = make_motion(frames=3)
    path = tmp_path / f"clip{fmt.suffix}"
    write(motion, fmt, path, title="Waltz")
    data = encode(motion, fmt, title="Waltz")
    assert len(data) > 1000
    assert path.read_bytes() == data
    assert os.listdir(tmp_path) == [path.name]


def test_a_writer_that_fails_leaves_the_old_file(make_motion, tmp_path):
    path = tmp_path / "clip.json"
    path.write_bytes(b"old")
    motion = make_motion(frames=3)
    motion.positions[0, 0, 0] = np.nan
    with pytest.raises(ArithmeticError):
        write(motion, Format.JSON, path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == [path.name]
