"""`choreo tags`."""

import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from choreo.errors import InvalidInput
from choreo.music.synth import synthesize_song, write_wav
from serving.cli.tags import hear_song, print_tags, tags_document
from serving.settings import Settings


def test_tags_for_machines_and_people(tmp_path: Path) -> None:
    samples, rate, _ = synthesize_song(124, 4, style="house")
    write_wav(tmp_path / "song.wav", samples, rate)
    heard = hear_song(tmp_path / "song.wav", "msd", Settings())
    document = json.loads(json.dumps(tags_document(tmp_path / "song.wav", "msd", heard)))
    assert (document["model"], len(document["tags"]), len(document["embedding"])) == ("msd", 10, 200)
    console = Console(record=True, width=200)
    print_tags(heard, console)
    text = console.export_text()
    assert document["genre"][0]["name"] in text
    assert document["mood"][0]["name"] in text
    assert "house" in document["dances"]
    assert ", ".join(document["dances"]) in text


def test_silence_and_bad_input(tmp_path: Path) -> None:
    write_wav(tmp_path / "silent.wav", np.zeros(64_000, np.float32), 16_000)
    console = Console(record=True)
    print_tags(hear_song(tmp_path / "silent.wav", "msd", Settings()), console)
    assert "nothing sounds" in console.export_text()
    with pytest.raises(InvalidInput, match="song"):
        hear_song(tmp_path / "none.wav", "msd", Settings())
    with pytest.raises(InvalidInput, match="model"):
        hear_song(tmp_path / "silent.wav", "big", Settings())
