"""`choreo beats`."""

import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from tiny_beat_this import click_network, clicks

from choreo.errors import InvalidInput, MissingDependency
from choreo.music.beat_tracking.beat_this import VARIABLE
from choreo.music.beat_tracking.beats import NO_BEATS
from choreo.music.synth import synthesize_song, write_wav
from serving.cli.beats import beats_document, hear_beats, print_beats
from serving.settings import Settings


@pytest.fixture
def song(tmp_path: Path) -> Path:
    samples, rate, _ = synthesize_song(132, 10, style="waltz")
    write_wav(tmp_path / "song.wav", samples, rate)
    return tmp_path / "song.wav"


def test_beats_for_machines_and_people(song: Path) -> None:
    heard = hear_beats(song, "beatnet", Settings())
    document = json.loads(json.dumps(beats_document(song, "beatnet", heard)))
    assert (document["tracker"], document["time_signature"]) == ("beatnet", "3/4")
    assert document["tempo"] == pytest.approx(132, rel=0.02)
    console = Console(record=True, width=100)
    print_beats(heard, console)
    lines = console.export_text().splitlines()
    assert lines[0].startswith("13")
    assert "3/4" in lines[0]
    assert len(lines) >= len(document["downbeats"]) + 2


def test_bars_of_eight_where_none_are_heard_and_silence(song: Path) -> None:
    console = Console(record=True, width=100)
    print_beats(hear_beats(song, "librosa", Settings()), console)
    assert "/4" not in console.export_text()
    print_beats(NO_BEATS, console)
    assert "no beats" in console.export_text()


def test_a_network_by_path(tmp_path: Path, song: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clicks_file = tmp_path / "clicks.wav"
    write_wav(clicks_file, clicks(np.arange(0.5, 7.9, 0.6), 3, 8.2), 22_050)
    monkeypatch.setenv(VARIABLE, str(click_network(tmp_path / "clicks.onnx")))
    heard = hear_beats(clicks_file, "beat_this", Settings(beat_tracker="beat_this"))
    assert beats_document(clicks_file, "beat_this", heard)["time_signature"] == "3/4"
    assert heard.tempo == pytest.approx(100, rel=0.01)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "none.onnx"))
    with pytest.raises(MissingDependency, match=VARIABLE):
        hear_beats(song, "beat_this", Settings())


def test_what_cannot_be_heard_is_refused(tmp_path: Path, song: Path) -> None:
    with pytest.raises(InvalidInput, match="song"):
        hear_beats(tmp_path / "none.wav", "beatnet", Settings())
    (tmp_path / "text.wav").write_text("text")
    with pytest.raises(InvalidInput, match="song"):
        hear_beats(tmp_path / "text.wav", "beatnet", Settings())
    with pytest.raises(InvalidInput, match="beat_tracker"):
        hear_beats(song, "ears", Settings())
