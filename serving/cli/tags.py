"""`choreo tags`: genre, mood and instruments of a song."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from choreo.music.isolated import decode_audio_isolated
from choreo.music.tagging.tagger import SongTags, Tagger
from choreo.music.tagging.vocabulary import GENRES, MOODS
from serving.cli.song_file import song_bytes
from serving.settings import Settings


def hear_tags(song: Path, model: str, settings: Settings) -> SongTags:
    """Tags of a song file.

    Raises:
        InvalidInput: the song cannot be decoded or is too long, or there is no such model.
        MissingDependency: the model's weights are not on this machine.
    """
    tagger = Tagger(model)
    audio = decode_audio_isolated(
        song_bytes(song, settings), max_seconds=settings.max_song_seconds, field="song", sample_rate=tagger.sample_rate
    )
    return tagger.tag(audio)


def tags_document(song: Path, model: str, tags: SongTags) -> dict[str, Any]:
    """JSON-serialisable form."""
    return {"song": str(song), "model": model} | tags.document()


def print_tags(tags: SongTags, console: Console) -> None:
    """Tags, genres and moods for people."""
    if not len(tags.windows):
        console.print("nothing sounds in the song")
        return
    table = Table("what", "probabilities", box=None)
    for what, found in (("tags", tags.top(8)), ("genre", tags.top(3, GENRES)), ("mood", tags.top(3, MOODS))):
        table.add_row(what, "  ".join(f"{name} {value:.2f}" for name, value in found))
    console.print(table)
