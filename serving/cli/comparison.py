"""`choreo compare`: the same songs danced by two checkpoints, side by side."""

import asyncio
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from choreo.errors import InvalidInput
from choreo.files import atomic_write
from choreo.motion.formats.formats import Format
from choreo.motion.performance import Performance
from choreo.music.isolated import decode_soundtrack_isolated
from serving.cli.beats import hear_beats
from serving.cli.checkpoints import checkpoints
from serving.cli.report import results_in
from serving.cli.song_file import song_bytes
from serving.evaluation.side_by_side import LABELS, Pair, figures, write_pair
from serving.pipeline.fields import parse_fields
from serving.pipeline.request import Attachments
from serving.pipeline.validation import validated_request
from serving.settings import Settings
from serving.stages.local import LocalPipeline

MAX_SONGS: Final = 20
DOCUMENT: Final = "compare.json"


def compared(
    songs: Sequence[Path],
    named: Sequence[str],
    fields: dict[str, Any],
    out: Path,
    settings: Settings,
    console: Console,
) -> dict[str, Any]:
    """Dance, film and measure; returns the document that is written as `compare.json`.

    Args:
        songs: files; films and sheets are named after their order and their names.
        named: the two checkpoints, as `serving.cli.checkpoints.checkpoints` takes them.
        fields: of every request.
        out: folder of the results, which appear in it together or not at all.
        settings: limits and paths.
        console: shows progress.

    Raises:
        InvalidInput: not two checkpoints, no songs or too many, or songs or fields that a request may not have.
        ChoreoError: nothing was written.
    """
    if len(named) != len(LABELS):
        raise InvalidInput("checkpoint", f"must be given twice, for {' and '.join(LABELS)}, got {len(named)}")
    if not 1 <= len(songs) <= MAX_SONGS:
        raise InvalidInput("songs", f"must be 1 to {MAX_SONGS} files, got {len(songs)}")
    folders = [checkpoints([name])[0] for name in named]
    audio = [song_bytes(song, settings) for song in songs]
    names = [f"{number}-{song.stem}" for number, song in enumerate(songs, 1)]
    with results_in(out, [Format.MP4]) as part:
        dances = []
        for label, folder in zip(LABELS, folders, strict=True):
            with console.status(f"{label} dances"):
                dances.append(asyncio.run(_danced(audio, folder, fields, settings)))
        pairs = []
        for name, song, body, a, b in zip(names, songs, audio, *dances, strict=True):
            with console.status(f"filming {name}"):
                pairs.append(Pair(song.stem, (a, b), hear_beats(song, settings.beat_tracker, settings).times))
                sound = decode_soundtrack_isolated(body, a.seconds)
                write_pair(pairs[-1], part / f"{name}.mp4", part / f"{name}.png", sound)
        files = [str(out / f"{name}{suffix}") for name in names for suffix in (".mp4", ".png")]
        document = {
            "files": [*files, str(out / DOCUMENT)],
            "checkpoints": dict(zip(LABELS, map(str, folders), strict=True)),
            "request": fields,
            "songs": [str(song) for song in songs],
            "figures": figures(pairs),
        }
        atomic_write(part / DOCUMENT, (json.dumps(document, indent=1) + "\n").encode())
    return document


async def _danced(
    songs: Sequence[bytes], checkpoint: Path, fields: dict[str, Any], settings: Settings
) -> list[Performance]:
    """One dance to each song by one checkpoint."""
    requests = [validated_request(parse_fields(fields), Attachments(song), settings) for song in songs]
    async with LocalPipeline(settings, [checkpoint]) as pipeline:
        # Their sender can interrupt them.
        return [(await pipeline.run(replace(request, deadline=math.inf))).performance for request in requests]
