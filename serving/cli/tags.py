"""`choreo tags`: genre, mood and instruments of a song, and the dances of its tempo."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from choreo.music.beat_tracking.beats import beat_tracker
from choreo.music.isolated import decode_audio_isolated
from choreo.music.tagging.dances import dances_by_tempo
from choreo.music.tagging.tagger import SongTags, Tagger
from choreo.music.tagging.vocabulary import GENRES, MOODS
from serving.cli.song_file import song_bytes
from serving.settings import Settings


@dataclass(frozen=True)
class Heard:
    """What `choreo tags` hears of a song.

    Attributes:
        tags: of the song.
        dances: names of dances that have its tempo and metre, the closest first.
    """

    tags: SongTags
    dances: list[str]


def hear_song(song: Path, model: str, settings: Settings) -> Heard:
    """Tags of a song file, and the dances of its tempo.

    Raises:
        InvalidInput: the song cannot be decoded or is too long, or there is no such model.
        MissingDependency: the model's weights are not on this machine.
    """
    tagger, tracker = Tagger(model), beat_tracker("beatnet")
    audio = decode_audio_isolated(
        song_bytes(song, settings), max_seconds=settings.max_song_seconds, field="song", sample_rate=tracker.sample_rate
    )
    return Heard(tagger.tag(audio), dances_by_tempo(tracker.track(audio)))


def tags_document(song: Path, model: str, heard: Heard) -> dict[str, Any]:
    """JSON-serialisable form."""
    return {"song": str(song), "model": model} | heard.tags.document() | {"dances": heard.dances}


def print_tags(heard: Heard, console: Console) -> None:
    """Tags, genres, moods and dances for people."""
    tags = heard.tags
    if not len(tags.windows):
        console.print("nothing sounds in the song")
        return
    table = Table("what", "likeliest first", box=None)
    for what, found in (("tags", tags.top(8)), ("genre", tags.top(3, GENRES)), ("mood", tags.top(3, MOODS))):
        table.add_row(what, "  ".join(f"{name} {value:.2f}" for name, value in found))
    table.add_row("dances of this tempo", ", ".join(heard.dances) or "none")
    console.print(table)
