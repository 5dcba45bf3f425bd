"""`choreo phrases bundle`: the library that ships with the program, with dances of the shipped checkpoint in it."""

from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
from rich.progress import track

from choreo.motion.foot_skating import foot_skating_ratio
from choreo.motion.skeleton import FPS
from retrieval.building.build import BuildReport, PhraseSource
from retrieval.building.bundled import LICENCE, build_bundled, bundled_song
from serving.pipeline.fields import parse_fields
from serving.pipeline.pipeline import Pipeline
from serving.pipeline.request import Attachments
from serving.pipeline.validation import validated_request
from serving.settings import Settings
from serving.stages.local import LocalPipeline

DANCES: Final = (
    ("waltz", "a dancer performs a waltz", "waltz", 3),
    ("waltz", "a person dances a waltz, travelling across the floor", "waltz", 3),
    ("rumba", "a dancer performs a rumba", "house", 4),
    ("rumba", "a person dances a rumba, slowly and calmly", "house", 4),
    ("cha-cha", "a dancer performs a cha-cha", "house", 4),
    ("cha-cha", "a person dances a cha-cha, fast and energetically", "breakbeat", 4),
    ("tango", "a dancer performs a tango", "house", 4),
    ("salsa", "salsa dance, with turns", "breakbeat", 4),
)
"""Genre, prompt, style of song and beats per bar."""
TEMPOS: Final = (90.0, 105.0, 120.0)
SECONDS: Final = 12.0
MAX_SKATING: Final = 0.3
"""A dance whose feet slide more is no example to begin from; those of the recorded ballroom dances slide .23."""


async def bundle(out: Path, settings: Settings) -> BuildReport:
    """Write the bundled library: the choreographer's moves, and the model's dances that stand firmly enough."""
    sources = []
    async with LocalPipeline(settings) as pipeline:
        for number in track(range(len(DANCES) * len(TEMPOS)), "dancing", transient=True):
            source = await _danced(pipeline, number, settings)
            if foot_skating_ratio(source.motion.positions, FPS) <= MAX_SKATING:
                sources.append(source)
    return build_bundled(out, samples=sources)


async def _danced(pipeline: Pipeline, number: int, settings: Settings) -> PhraseSource:
    genre, prompt, style, meter = DANCES[number % len(DANCES)]
    tempo = TEMPOS[number // len(DANCES)]
    song = bundled_song(style, tempo, number)
    fields = {"text_prompt": prompt, "seed": number, "use_rag": False, "duration": SECONDS}
    job = replace(validated_request(parse_fields(fields), Attachments(), settings), features=song)
    result = await pipeline.run(job)
    beats = np.arange(0, SECONDS, 60 / tempo)
    source = f"model/{result.model}-{genre}-{tempo:.0f}-{number}"
    return PhraseSource(result.motion, prompt, genre, beats, source, LICENCE, song, meter=meter)
