"""Beats on the command line, and how they get into a request."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from http_thread import served
from typer.testing import CliRunner

from choreo.errors import InvalidInput
from choreo.music.rhythm import Rhythm
from serving.cli.given_beats import MAX_BYTES, given_beats
from serving.cli.main import app
from serving.http.ingress import create_app
from serving.settings import Settings


@pytest.fixture
def url(stages: Any) -> Iterator[str]:
    with served(create_app(Settings(), stages.stages())) as url:
        yield url


def test_seconds_between_commas() -> None:
    assert given_beats("0, .5,1.25,2e0") == [0, 0.5, 1.25, 2]
    assert given_beats("3") == [3]


def test_a_file_of_beats(tmp_path: Path) -> None:
    file = tmp_path / "a,b.json"
    file.write_text(json.dumps({"song": "a.mp3", "tempo": 120.0, "beats": [0, 0.5], "downbeats": [0]}))
    assert given_beats(str(file)) == [0, 0.5]
    file.write_text("[1, 2.5]")
    assert given_beats(str(file)) == [1, 2.5]


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("0,x", "beats.1"), ("0,,1", "beats.1"), ("/nowhere.json", "beats"), ("", "beats"), (".", "beats.0"),
        ("a" * 5000, "beats"), ("a\0", "beats"), ("..", "beats.0"),
    ],
)  # fmt: skip
def test_what_is_neither_is_refused(text: str, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        given_beats(text)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("content", "field"),
    [
        (b"0,1", "beats"), (b"\xff", "beats"), (b"3", "beats"), (b"{}", "beats"), (b'{"beats": "0,1"}', "beats"),
        (b"[" * 100_000, "beats"), (b"[0, true]", "beats.1"), (b'[0, 1, "2"]', "beats.2"), (b"[0, [1]]", "beats.1"),
        (b"[0, 1" + b"0" * 400 + b"]", "beats.1"), (b" " * (MAX_BYTES + 1), "beats"),
    ],
)  # fmt: skip
def test_files_that_hold_no_beats(content: bytes, field: str, tmp_path: Path) -> None:
    (tmp_path / "beats.json").write_bytes(content)
    with pytest.raises(InvalidInput) as caught:
        given_beats(str(tmp_path / "beats.json"))
    assert caught.value.field == field


def test_samples_and_the_warp_are_sent_to_a_server(url: str, stages: Any, tmp_path: Path) -> None:
    (tmp_path / "song.wav").write_bytes(b"RIFF")
    song = ["--url", url, "--song", str(tmp_path / "song.wav"), "--format", "npz", "--json"]
    for i, said in enumerate((["--num-samples", "8"], ["--on-beat"], ["--no-on-beat"])):
        done = CliRunner().invoke(app, ["generate", *song, "--out", str(tmp_path / str(i)), *said])
        assert done.exit_code == 0, done.output
    found = [(request.num_samples, request.finish.on_beat) for request in stages.requests]
    assert found == [(8, None), (1, True), (1, False)]


def test_they_are_sent_to_a_server(url: str, stages: Any, tmp_path: Path) -> None:
    (tmp_path / "song.wav").write_bytes(b"RIFF")
    (tmp_path / "beats.json").write_text('{"beats": [0, 0.5, 1]}')
    song = ["--url", url, "--song", str(tmp_path / "song.wav"), "--format", "npz", "--json"]
    for i, said in enumerate((["--bpm", "120"], ["--beats", str(tmp_path / "beats.json"), "--half-time"], [])):
        done = CliRunner().invoke(app, ["generate", *song, "--out", str(tmp_path / str(i)), *said])
        assert done.exit_code == 0, done.output
    assert [r.rhythm for r in stages.requests] == [Rhythm(120), Rhythm(None, (0, 0.5, 1), True), Rhythm()]


@pytest.mark.parametrize(
    ("args", "field"),
    [
        (["--text", "a", "--bpm", "120"], "bpm"), (["--text", "a", "--half-time"], "half_time"),
        (["--beats", "0,1,0.5"], "beats.2"), (["--beats", "0,1,nan"], "beats.2"), (["--beats", "0"], "beats"),
        (["--bpm", "nan"], "bpm"), (["--bpm", "0"], "bpm"), (["--bpm", "100", "--beats", "0,.5,1"], "bpm"),
        (["--beats", "0,1", "--half-time"], "half_time"), (["--text", "a", "--on-beat"], "on_beat"),
        (["--num-samples", "0"], "num_samples"), (["--num-samples", "1000"], "num_samples"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_before_anything_is_made(args: list[str], field: str, tmp_path: Path) -> None:
    (tmp_path / "song.wav").write_bytes(b"RIFF")
    song = [] if "--text" in args else ["--song", str(tmp_path / "song.wav")]
    done = CliRunner().invoke(app, ["generate", *song, *args, "--out", str(tmp_path / "out")])
    assert isinstance(done.exception, InvalidInput), done.output
    assert done.exception.field == field
    assert not (tmp_path / "out").exists()
