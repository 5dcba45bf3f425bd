"""`choreo structure`."""

import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from choreo.data.synthetic.song_forms import formed_song
from choreo.errors import InvalidInput
from choreo.music.structure import Section
from choreo.music.synth import write_wav
from serving.cli.structure import hear_sections, print_sections, structure_document
from serving.settings import Settings


def test_sections_for_people() -> None:
    console = Console(record=True, width=100)
    print_sections([Section("A", np.arange(5.0)), Section("B", np.arange(4.0, 13))], console)
    print_sections([], console)
    *table, last = console.export_text().splitlines()
    assert [line.split() for line in table[1:]] == [["A", "0.00", "4.00", "4"], ["B", "4.00", "12.00", "8"]]
    assert "no bars" in last


@pytest.mark.slow
def test_sections_of_a_file(tmp_path: Path) -> None:
    song = formed_song("AB", 8, 140, seed=1)
    write_wav(tmp_path / "song.wav", song.audio.samples, song.audio.sample_rate)
    found = hear_sections(tmp_path / "song.wav", Settings())
    document = json.loads(json.dumps(structure_document(tmp_path / "song.wav", found)))
    assert [section["label"] for section in document["sections"]] == ["A", "B"]
    assert document["sections"][1]["start"] == pytest.approx(song.edges[1], abs=0.1)


def test_what_is_no_song_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("text")
    with pytest.raises(InvalidInput, match="song"):
        hear_sections(tmp_path / "text.wav", Settings())
