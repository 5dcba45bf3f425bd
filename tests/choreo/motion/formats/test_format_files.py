import json
import os

import numpy as np
import pytest

from choreo.errors import InvalidInput
from choreo.motion.formats.bvh import read_bvh
from choreo.motion.formats.files import Format, encode, write
from choreo.motion.formats.npz import read_npz


def test_every_format_has_a_media_type_and_a_suffix():
    for fmt in Format:
        kind, _, subtype = fmt.media_type.partition("/")
        assert kind in ("application", "video")
        assert subtype
        assert fmt.suffix == f".{fmt}"


@pytest.mark.parametrize("name", ["bvh", "BVH", ".bvh", " bvh\n"])
def test_names(name):
    assert Format.named(name) is Format.BVH


@pytest.mark.parametrize("name", ["", "exe", "json.npz", "x" * 10_000])
def test_unknown_names_name_the_field_and_what_there_is(name):
    with pytest.raises(InvalidInput, match="json, npz, bvh, mp4") as error:
        Format.named(name)
    assert error.value.field == "format"
    assert len(error.value.message) < 100


def test_all_formats_hold_the_same_positions(make_motion):
    motion = make_motion(frames=12)
    from_json = np.array(json.loads(encode(motion, Format.JSON))["motion"])
    from_npz = read_npz(encode(motion, Format.NPZ)).positions
    from_bvh = read_bvh(encode(motion, Format.BVH)).positions
    assert np.abs(from_json - from_npz).max() < 1e-3
    assert np.abs(from_bvh - from_npz).max() < 1e-3


@pytest.mark.parametrize("fmt", list(Format))
def test_write_and_encode_agree(make_motion, tmp_path, fmt):
    motion = make_motion(frames=3)
    path = tmp_path / f"clip{fmt.suffix}"
    write(motion, fmt, path, title="Waltz")
    data = encode(motion, fmt, title="Waltz")
    assert len(data) > 1000
    assert path.read_bytes() == data
    assert os.listdir(tmp_path) == [path.name]
