"""`choreo structure`: the sections of a song."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from choreo.music.encoders import music_encoder
from choreo.music.isolated import decode_audio_isolated
from choreo.music.structure import Section, find_sections
from serving.cli.song_file import song_bytes
from serving.settings import Settings


def hear_sections(song: Path, settings: Settings) -> tuple[Section, ...]:
    """Sections of a song file, by the bars that the settings' tracker hears.

    Raises:
        InvalidInput: the song cannot be decoded or is too long.
        MissingDependency: the tracker's weights are not on this machine.
    """
    encoder = music_encoder("dsp35", settings.beat_tracker)
    limit = settings.max_song_seconds
    data = song_bytes(song, settings)
    audio = decode_audio_isolated(data, max_seconds=limit, field="song", sample_rate=encoder.sample_rate)
    return find_sections(encoder.encode(audio))


def structure_document(song: Path, sections: Sequence[Section]) -> dict[str, Any]:
    """JSON-serialisable form."""
    return {"song": str(song), "sections": [section.document() for section in sections]}


def print_sections(sections: Sequence[Section], console: Console) -> None:
    """Label, time and bars of each section for people."""
    if not sections:
        console.print("no bars were found, and so no sections")
        return
    table = Table("section", "from, s", "to, s", "bars", box=None)
    for section in sections:
        table.add_row(section.label, f"{section.start:.2f}", f"{section.end:.2f}", str(len(section.bars) - 1))
    console.print(table)
