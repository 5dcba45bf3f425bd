"""Dances as files."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from choreo.client.dance import Dance, read_dance
from choreo.client.wire import Answer
from choreo.errors import InvalidInput, UnexpectedAnswer
from choreo.motion.clip import Motion
from choreo.motion.formats.amass import amass_bytes
from choreo.motion.formats.bvh import bvh_bytes
from choreo.motion.formats.glb import glb_bytes
from choreo.motion.formats.json_format import json_bytes
from choreo.motion.formats.npz import npz_bytes
from choreo.motion.performance import Performance
from choreo.motion.skeleton import NUM_JOINTS

POSITIONS = np.zeros((4, NUM_JOINTS, 3), np.float32)
POSITIONS[:, :, 1] = np.linspace(0, 1.7, NUM_JOINTS)
MOTION = Motion(POSITIONS, meta={"seed": 3, "notes": ["a; b", "ü"]})
HEADERS = {"x-seed": "3", "server-timing": "encode;dur=1.5, sample;dur=2000.0", "x-notes": "c; d", "x-request-id": "r"}


def dance(body: bytes = npz_bytes(MOTION), name: str = "npz") -> Dance:
    return read_dance(Answer(200, HEADERS, body), name)


def test_an_answer_is_read() -> None:
    found = dance()
    assert (found.seed, found.server_seconds, found.request_id) == (3, {"encode": 0.0015, "sample": 2.0}, "r")
    assert found.notes == ("a; b", "ü")
    assert dance(b"film", "mp4").notes == ("c", "d")
    assert dance(json_bytes(MOTION), "json").positions.dtype == np.float32
    assert len(repr(found)) < 300


def test_several_dancers() -> None:
    found = dance(npz_bytes(Performance((MOTION, MOTION), {"seed": 3})))
    assert found.positions.shape == (2, 4, NUM_JOINTS, 3)
    with pytest.raises(InvalidInput, match="one dancer"):
        _ = found.motion


def test_it_is_saved_in_the_format_that_the_path_names(tmp_path: Path) -> None:
    found = dance()
    assert found.save(tmp_path) == tmp_path / "motion-3.npz"
    for name in ("a.npz", "a", "a.NPZ"):
        assert found.save(tmp_path / name).read_bytes() == found.content
    assert found.save(tmp_path / "a.bvh").read_bytes() == bvh_bytes(found.motion)
    assert json.loads(found.save(str(tmp_path / "a.json")).read_text())["seed"] == 3
    assert dance(b"glTF", "glb").save(tmp_path / "a.glb").read_bytes() == b"glTF"
    assert dance(b"new", "usd").save(tmp_path / "a.usd").read_bytes() == b"new"
    assert found.save(tmp_path / "b.glb").read_bytes() == glb_bytes(found.motion)
    assert found.save(tmp_path / "a.amass.npz").read_bytes() == amass_bytes(found.motion)
    assert dance(b"PK", "amass").save(tmp_path) == tmp_path / "motion-3.amass.npz"


@pytest.mark.parametrize("name", ["a.mp4", "a.usd", "a.b.c"])
def test_formats_that_cannot_be_made_here(name: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        dance().save(tmp_path / name)
    assert caught.value.field == "path"
    with pytest.raises(InvalidInput):
        dance(b"film", "mp4").save(tmp_path / "a.bvh")
    assert list(tmp_path.iterdir()) == []


def test_a_seed_is_needed() -> None:
    bare = npz_bytes(replace(MOTION, meta={}))
    assert read_dance(Answer(200, {}, npz_bytes(MOTION)), "npz").seed == 3
    with pytest.raises(UnexpectedAnswer):
        read_dance(Answer(200, {}, bare), "npz")
