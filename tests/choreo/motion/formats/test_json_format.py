import json
from enum import Enum

import numpy as np
import pytest

from choreo.errors import InvalidInput, NonFiniteOutput
from choreo.motion.clip import Motion
from choreo.motion.formats.json_format import json_bytes, json_safe, motion_document, read_json, write_json


def test_document(motion):
    document = motion_document(motion)
    assert set(document) == {"motion", "fps", "num_frames", "num_joints", "seed", "meta"}
    assert (document["fps"], document["num_frames"], document["num_joints"], document["seed"]) == (30, 40, 22, 0)
    assert np.abs(np.array(document["motion"]) - motion.positions).max() <= 0.5e-4 + 1e-6
    assert document["meta"]["prompt"] == "a slow waltz"


def test_text_is_strict_json_with_four_decimals(motion, tmp_path):
    write_json(motion, tmp_path / "clip.json")
    text = (tmp_path / "clip.json").read_bytes()
    assert text == json_bytes(motion)
    document = json.loads(text, parse_float=lambda number: number, parse_constant=pytest.fail)
    flat = [number for frame in document["motion"] for joint in frame for number in joint]
    assert max(len(number.partition(".")[2]) for number in flat) <= 4
    assert "-0.0" not in flat


def test_no_seed_is_null(motion):
    assert motion_document(Motion(motion.positions))["seed"] is None


def test_positions_spoilt_after_construction_are_withheld(make_motion):
    motion = make_motion(frames=3)
    motion.positions[1, 2, 0] = np.nan
    with pytest.raises(NonFiniteOutput):
        motion_document(motion)


def test_metadata_becomes_what_json_can_hold():
    nested: list = []
    nested.append(nested)
    colour = Enum("colour", "RED")
    meta = {1: np.float64("inf"), "a": np.arange(2), "b": {"c": (1, float("nan"))}, "d": nested, "e": colour.RED}
    safe = json_safe(meta)
    text = json.dumps(safe, allow_nan=False)
    assert json.loads(text)["b"] == {"c": [1, None]}
    assert safe["1"] is None
    assert safe["a"] == [0, 1]
    assert safe["e"] == "colour.RED"


def test_text_that_utf8_cannot_hold_does_not_stop_a_motion(motion):
    assert (
        json.loads(json_bytes(Motion(motion.positions, meta={"prompt": "\ud800 dança"})))["meta"]["prompt"] == "? dança"
    )


def test_a_document_comes_back(make_motion) -> None:
    motion = make_motion()
    back = read_json(json_bytes(motion))
    assert np.allclose(back.positions, motion.positions, atol=1e-4)
    assert (back.fps, back.num_frames) == (motion.fps, motion.num_frames)


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[" * 100_000, b"[]", b"{}", b'{"motion": 1, "fps": 30}', b'{"motion": [[]], "fps": 30}',
    b'{"motion": "x", "fps": 30}', b'{"motion": [[[0, 0, 0]]], "fps": null}', b'{"motion": [[1], [1, 2]], "fps": 30}',
    b"\xff\xfe"],
)  # fmt: skip
def test_what_is_no_motion_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidInput):
        read_json(data)
