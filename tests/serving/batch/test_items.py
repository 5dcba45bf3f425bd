"""Rows as requests: the checks of the server, files within the catalog's folder, seeds and names."""

import math
from pathlib import Path
from typing import Any

import fsspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from choreo.errors import InvalidInput
from choreo.music.rhythm import Rhythm
from serving.batch.attachments import AttachmentReader
from serving.batch.catalog import CatalogRow
from serving.batch.items import ItemDefaults, request_of, seed_of
from serving.batch.names import file_name, safe_name
from serving.pipeline.request import MotionRequest
from serving.settings import Settings


def ask(folder: Path | str, body: dict[str, Any], defaults: ItemDefaults = ItemDefaults()) -> tuple[MotionRequest, Any]:
    reader = AttachmentReader(str(folder), False, ("memory",), 100)
    return request_of(CatalogRow(0, 1, "a", body), defaults, reader, Settings())


def test_an_item_has_no_deadline_and_a_seed_of_its_id(tmp_path: Path) -> None:
    request, formats = ask(tmp_path, {"text_prompt": "x", "timeout": 1.0})
    assert request.deadline == math.inf
    assert request.seed == seed_of("a") < 2**48
    assert request.seed != seed_of("b")
    assert [str(fmt) for fmt in formats] == ["npz"]
    assert ask(tmp_path, {"text_prompt": "x", "seed": 3})[0].seed == 3


def test_formats_and_presets_of_the_run(tmp_path: Path) -> None:
    body = {"text_prompt": "x", "format": "bvh"}
    assert [str(fmt) for fmt in ask(tmp_path, body)[1]] == ["bvh"]
    request, formats = ask(tmp_path, body, ItemDefaults(("npz", "json"), "draft"))
    assert [str(fmt) for fmt in formats] == ["npz", "json"]
    assert request.num_steps == 4
    assert ask(tmp_path, body | {"preset": "fast"}, ItemDefaults((), "draft"))[0].num_steps == 6


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "text_prompt"),
        ({"text_prompt": "x", "tempo": 3}, "tempo"),
        ({"text_prompt": "x", "num_steps": 0}, "num_steps"),
        ({"text_prompt": "x", "duration": "3"}, "duration"),
        ({"text_prompt": "x", "format": "usd"}, "format"),
        ({"text_prompt": "x", "format": 3}, "format"),
        ({"audio_url": "https://example.org/a.wav"}, "audio_url"),
        ({"audio": 7}, "audio"),
        ({"audio": "none.wav"}, "audio"),
        ({"audio": "inner"}, "audio"),
        ({"audio": "../outside.wav"}, "audio"),
        ({"audio": "inner/../../outside.wav"}, "audio"),
        ({"audio": "/etc/hostname"}, "audio"),
        ({"audio": "file:///etc/hostname"}, "audio"),
        ({"audio": "local:///etc/hostname"}, "audio"),
        ({"audio": "zip://a::file:///etc/hostname"}, "audio"),
        ({"audio": "memory://a::b"}, "audio"),
        ({"audio": "https://example.org/a.wav"}, "audio"),
        ({"audio": "link.wav"}, "audio"),
        ({"audio": "large.wav"}, "audio"),
        ({"audio": "empty.wav"}, "audio"),
        ({"audio": "a\x00.wav"}, "audio"),
        ({"audio": "song.wav", "features": "song.wav"}, "features"),
        ({"features": "song.wav"}, "features"),
        ({"text_prompt": "x", "start": "../outside.wav"}, "start"),
        ({"text_prompt": "x", "bpm": 120}, "bpm"),
        ({"audio": "song.wav", "bpm": 10}, "bpm"),
        ({"audio": "song.wav", "beats": [0, 1, 1]}, "beats.2"),
    ],
)
def test_a_wrong_field_is_the_items_fault(body: dict[str, Any], field: str, tmp_path: Path) -> None:
    folder = tmp_path / "catalog"
    (folder / "inner").mkdir(parents=True)
    (tmp_path / "outside.wav").write_bytes(b"x")
    (folder / "song.wav").write_bytes(b"x")
    (folder / "large.wav").write_bytes(b"x" * 101)
    (folder / "empty.wav").touch()
    (folder / "link.wav").symlink_to(tmp_path / "outside.wav")
    with pytest.raises(InvalidInput) as caught:
        ask(folder, body)
    assert caught.value.field == field


def test_an_item_says_its_beats(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"x")
    request, _ = ask(tmp_path, {"audio": "a.wav", "beats": [0, 0.5, 1], "bpm": 120, "half_time": True})
    assert request.rhythm == Rhythm(120, (0, 0.5, 1), True)
    assert ask(tmp_path, {"audio": "a.wav", "beats": None, "bpm": None})[0].rhythm == Rhythm()


def test_an_item_may_ask_for_several_samples(tmp_path: Path) -> None:
    request, _ = ask(tmp_path, {"text_prompt": "waltz", "num_samples": 3, "on_beat": False})
    assert (request.num_samples, request.finish.on_beat) == (3, False)
    with pytest.raises(InvalidInput, match="num_samples: must be between 1 and 16, got 1000"):
        ask(tmp_path, {"text_prompt": "waltz", "num_samples": 1000})


def test_songs_below_the_catalog_and_at_addresses(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.wav").write_bytes(b"here")
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/songs/in/b.wav", b"there")
    assert ask(tmp_path, {"audio": "in/a.wav"})[0].audio == b"here"
    assert ask(tmp_path, {"audio": "memory://songs/in/b.wav"})[0].audio == b"there"
    assert ask("memory:///songs", {"audio": "in/b.wav"})[0].audio == b"there"
    with pytest.raises(InvalidInput):
        ask("memory:///songs/in", {"audio": "../in/b.wav"})


def test_plain_ids_are_names() -> None:
    assert file_name(12_345, "waltz-1.a", ".npz") == "files/00012/waltz-1.a.npz"


@given(st.text(min_size=1, max_size=300), st.text(min_size=1, max_size=300))
def test_names_are_safe_and_differ(one: str, other: str) -> None:
    name = safe_name(one) if one.isprintable() else ""
    assert "/" not in name
    assert not name.startswith(".")
    assert len(name) < 200
    if one != other and one.isprintable() and other.isprintable():
        assert safe_name(one) != safe_name(other)
    if name:
        assert safe_name(name) != name or one == name


def test_constraints_are_an_object_or_text_or_the_path_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "loop.json").write_text('{"loop": true}')
    for named in ({"loop": True}, '{"loop": true}', "loop.json"):
        assert ask(tmp_path, {"text_prompt": "x", "constraints": named})[0].constraints.loop
    (tmp_path / "bad.json").write_bytes(b"\xff")
    for bad in ("{", "none.json", "../loop.json", "bad.json", 3):
        with pytest.raises(InvalidInput) as caught:
            ask(tmp_path, {"text_prompt": "x", "constraints": bad})
        assert caught.value.field == "constraints"
