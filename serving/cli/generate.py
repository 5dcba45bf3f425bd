"""`choreo generate`: the pipeline in this process over ONNX Runtime."""

import json
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from choreo.files import atomic_write
from choreo.motion.formats.formats import Format
from export.build import build_repository
from serving.cli.report import report, write_files
from serving.cli.song_file import song_bytes
from serving.engines.local import OnnxEngine
from serving.pipeline.pipeline import Pipeline
from serving.pipeline.request import Attachments, parse_fields, validated_request
from serving.settings import Settings
from serving.stages.local import LocalStages
from serving.stages.retriever import Retriever
from serving.versions import versions


async def generate_files(
    fields: dict[str, Any],
    song: Path | None,
    features: Path | None,
    start: Path | None,
    formats: list[str],
    phrases: Path | None,
    out: Path,
    settings: Settings,
    console: Console,
) -> dict[str, Any]:
    """Generate once and write the files and `report.json`; returns the report without versions.

    Raises:
        InvalidInput: a flag is wrong; nothing was written.
    """
    wanted = [Format.named(name) for name in dict.fromkeys(formats)]
    given = {name: value for name, value in fields.items() if value is not None}
    audio = song_bytes(song, settings) if song else None
    job = validated_request(parse_fields(given), Attachments(audio, features, start), settings)
    job = replace(job, deadline=math.inf)  # whoever sits in front of it can end it
    retriever = Retriever(phrases or settings.phrases, cross_encoder=settings.cross_encoder)
    named = phrases is not None or settings.phrases_named
    if named:
        await retriever.require()
    began = time.perf_counter()
    with console.status("preparing the graphs"):
        repository = build_repository(settings.weights, settings.model_repo, "cpu", "float32")
    if named:
        await retriever.require((repository.spec.text_encoder, repository.spec.text_dim))
    engine = OnnxEngine(repository.path, repository.spec, settings.threads)
    stages = LocalStages(engine, settings, retriever)
    startup = time.perf_counter() - began
    try:
        with console.status("dancing"):
            result = await Pipeline(stages).run(job)
    finally:
        await stages.close()
        retriever.close()
        await engine.close()
    began = time.perf_counter()
    with console.status("writing"):
        files = write_files(result, out, wanted, song, job.text or "")
    result.seconds["write"] = round(time.perf_counter() - began, 4)
    result.seconds["start"] = round(startup, 4)
    document = report(result, files)
    full = document | {"rows": result.rows, "versions": versions(), "triton": None, "meta": result.motion.meta}
    atomic_write(out / "report.json", json.dumps(full, indent=1).encode())
    return document
