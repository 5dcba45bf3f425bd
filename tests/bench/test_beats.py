"""The benchmark of beat trackers: its rows, and the songs that it reads."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tests_data import data_pack
from tiny_beat_this import click_network

from bench.beats import RATE, loops, main, tracks
from choreo.errors import InvalidInput
from choreo.music.beat_tracking.beat_this import VARIABLE


def test_two_songs(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert main(["--quick", "--json"]) == 0
    rows = {(row["case"], row["metric"]): row for row in json.loads(capsys.readouterr().out)["rows"]}
    assert rows["tracks", "skipped"]["unit"] == "give --data"
    assert rows["synthesiser, beatnet", "tempo within 4 %"]["value"] == 100
    assert rows["synthesiser, beatnet", "F of beats"]["value"] > 0.9
    assert rows["synthesiser, librosa", "songs"]["value"] == 2
    assert not any("beat_this" in case for case, _ in rows)


def test_a_network_by_path_is_measured_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(VARIABLE, str(click_network(tmp_path / "clicks.onnx")))
    assert main(["--quick", "--json"]) == 0
    cases = {row["case"] for row in json.loads(capsys.readouterr().out)["rows"]}
    assert {"synthesiser, beatnet", "synthesiser, beat_this", "synthesiser, beat_this_bars"} < cases


def test_songs_of_a_folder(tmp_path: Path) -> None:
    audio = tmp_path / "audio"
    audio.mkdir()
    for name in ("grid.wav", "loop.wav"):
        soundfile.write(audio / name, np.zeros(RATE), RATE)
    (audio / "beats.csv").write_text("file,beat_s,beat_in_bar\ngrid.wav,0.0,1\ngrid.wav,0.5,2\ngrid.wav,1.0,1\n")
    (audio / "LICENSES.csv").write_text("file,known_bpm\ngrid.wav,120\nloop.wav,90\nother.wav,\n")
    (track,) = tracks(tmp_path)
    assert (track.tempo, track.downbeats is not None and track.downbeats.tolist()) == (120, [0.0, 1.0])
    (loop,) = loops(tmp_path)
    assert (loop.name, loop.tempo, loop.audio.seconds) == ("loop.wav", 90, 20)
    with pytest.raises(InvalidInput, match="data"):
        list(tracks(tmp_path / "none"))


def test_the_data_set_has_tracks_and_loops() -> None:
    data = data_pack()
    assert len(list(tracks(data))) >= 10
    assert len(list(loops(data))) >= 5
