"""`choreo beats`: the beats and bars of a song."""

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from choreo.music.beat_tracking.beats import Beats, beat_tracker
from choreo.music.isolated import decode_audio_isolated
from serving.cli.song_file import song_bytes
from serving.settings import Settings


def hear_beats(song: Path, tracker: str, settings: Settings) -> Beats:
    """Beats of a song file.

    Raises:
        InvalidInput: the song cannot be decoded or is too long, or there is no such tracker.
        MissingDependency: the tracker's weights are not on this machine.
    """
    chosen = beat_tracker(tracker)
    audio = decode_audio_isolated(
        song_bytes(song, settings), max_seconds=settings.max_song_seconds, field="song", sample_rate=chosen.sample_rate
    )
    return chosen.track(audio)


def beats_document(song: Path, tracker: str, beats: Beats) -> dict[str, Any]:
    """JSON-serialisable form."""
    return {"song": str(song), "tracker": tracker} | beats.document()


def print_beats(beats: Beats, console: Console) -> None:
    """Tempo and bars for people."""
    if not len(beats.times):
        console.print("no beats were found")
        return
    signature = f", {beats.meter}/4" if beats.meter else ""
    console.print(f"{beats.tempo:.1f} BPM{signature}, confidence {beats.confidence:.2f}", highlight=False)
    table = Table("bar", "beats, s", box=None)
    for number, bar in enumerate(_bars(beats), 1):
        table.add_row(str(number), "  ".join(f"{time:.2f}" for time in bar))
    console.print(table)


def _bars(beats: Beats) -> Iterator[list[float]]:
    """Times of the beats of each bar; of each eight where no bars are heard."""
    starts = beats.numbers == 1 if beats.meter else np.arange(len(beats.times)) % 8 == 0
    for _, group in groupby(zip(np.cumsum(starts), beats.times, strict=True), key=lambda item: item[0]):
        yield [float(time) for _, time in group]
