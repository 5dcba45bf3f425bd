"""`choreo generate`: the pipeline in this process."""

import json
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from choreo.files import atomic_write
from choreo.motion.formats.formats import Format
from choreo.rigs.animate import Character
from serving.cli.own_rig import with_own_rig, write_own_rig
from serving.cli.report import file_names, report, results_in, write_files
from serving.cli.song_file import song_bytes
from serving.pipeline.fields import parse_fields
from serving.pipeline.request import Attachments
from serving.pipeline.validation import validated_request
from serving.settings import Settings
from serving.stages.local import LocalPipeline
from serving.versions import versions


async def generate_files(
    fields: dict[str, Any],
    song: Path | None,
    features: Path | None,
    motions: dict[str, Path],
    formats: list[str],
    phrases: Path | None,
    models: list[Path],
    out: Path,
    settings: Settings,
    console: Console,
    character: Character | None = None,
) -> dict[str, Any]:
    """Generate once and write the files and `report.json`; returns the report without versions.

    Args:
        motions: files of start, end, clip and leader, those that there are.
        character: the user's own, whose file is written with the dance in it.

    Raises:
        ChoreoError: nothing was written.
    """
    names = file_names([Format.named(name) for name in dict.fromkeys(formats)])
    given = {name: value for name, value in fields.items() if value is not None}
    audio = song_bytes(song, settings) if song else None
    parts = Attachments(
        audio,
        features,
        motions.get("start"),
        motions.get("end"),
        motions.get("clip"),
        leader=motions.get("leader"),
    )
    request = validated_request(parse_fields(given), parts, settings)
    request = replace(request, deadline=math.inf)  # its sender can interrupt it
    with results_in(out, list(names.values())) as part:
        began = time.perf_counter()
        with console.status("preparing the graphs"):
            pipeline = await LocalPipeline(settings, models or None, phrases).__aenter__()
        try:
            startup = time.perf_counter() - began
            with console.status("dancing"):
                result = await pipeline.run(request)
        finally:
            await pipeline.__aexit__(None, None, None)
        began = time.perf_counter()
        with console.status("writing"):
            write_files(result.performance, part, names, audio, request.text or "", request.view)
            own = write_own_rig(character, result.performance, part)
        result.seconds["write"] = round(time.perf_counter() - began, 4)
        result.seconds["start"] = round(startup, 4)
        document = report(result, [out / name for name in names])
        document = with_own_rig(document, character, [out / name for name in own])
        full = document | {"rows": result.rows, "versions": versions(), "triton": None, "meta": result.performance.meta}
        atomic_write(part / "report.json", json.dumps(full, indent=1).encode())
    return document
