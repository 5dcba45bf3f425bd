"""`choreo evaluate`: generated dances beside held-out mocap and beside controls, by every metric that applies.

Each dance is made to the prompt and the music of one held-out stretch, so all sides have the same make-up. Half of the
stretches are mocap as it is; the other half is warped onto the beats of songs that training never hears, because only
there do music and motion agree to the frame.
"""

import asyncio
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.progress import Progress

from choreo.errors import InvalidInput
from choreo.evaluation.motions import Motions
from choreo.evaluation.scorecard import Row, score
from choreo.evaluation.text_motion import TextMotionEncoder
from choreo.motion.skeleton import WINDOW
from choreo.training.splits import read_splits
from serving.evaluation.dancers import Dance, DanceOptions, Dancer, in_process, server, untrained
from serving.evaluation.replications import combined, seeds_apart
from serving.evaluation.stretches import Stretch, held_out_stretches, windows
from serving.evaluation.subjects import Judge, danced, real_and_controls, unit
from serving.evaluation.targets import Verdict, verdicts
from serving.settings import Settings

SEED_STRIDE: Final = 10_000
"""Between the seeds of two replications; a replication's dances have consecutive ones."""
AT_ONCE: Final = 8
"""Dances that are made at a time."""


@dataclass(frozen=True)
class EvaluationRequest:
    """What is to be evaluated.

    Attributes:
        data: folder of any data set that `choreo.data.datasets` reads; its held-out side is danced to.
        checkpoint: who dances; None: the shipped one.
        url: of a running server that dances instead.
        samples: stretches.
        replications: times that everything is danced, each with other seeds.
        options: how.
        controls: whether an untrained network dances as well; never where a server does.
    """

    data: Path
    checkpoint: Path | None = None
    url: str | None = None
    samples: int = 32
    replications: int = 1
    options: DanceOptions = field(default_factory=DanceOptions)
    controls: bool = True


@dataclass(frozen=True)
class Evaluation:
    """What was found.

    Attributes:
        wish: what was asked for.
        rows: of `choreo.evaluation.scorecard`, by subject.
        verdicts: on the targets.
        stretches: what was danced to.
        dances: of the first replication.
    """

    wish: EvaluationRequest
    rows: list[Row]
    verdicts: list[Verdict]
    stretches: list[Stretch]
    dances: list[Dance]

    def document(self) -> dict[str, Any]:
        """JSON-serialisable form, without the motions."""
        wish = dataclasses.asdict(self.wish) | {"data": str(self.wish.data), "checkpoint": _text(self.wish.checkpoint)}
        return wish | {"stretches": len(self.stretches), "rows": self.rows, "verdicts": self.verdicts}


@dataclass(frozen=True)
class Scene:
    """What all who dance are judged by: the stretches, and the training side as the reference of distances."""

    judge: Judge
    reference: Motions


def open_scene(data: Path, samples: int, settings: Settings) -> Scene:
    """Read a data set and choose what is danced to.

    Raises:
        InvalidInput: no data set, or nothing held out in it that is long enough.
    """
    sides = read_splits(data)
    stretches = held_out_stretches(sides.held_out, data / "audio", samples)
    if not stretches:
        raise InvalidInput("data", f"{data} holds no held-out clip of {WINDOW} frames")
    embedder = TextMotionEncoder.load(settings.text_motion) if settings.text_motion.is_dir() else None
    reference = Motions("training", [s.positions for s in windows(sides.training)])
    if embedder is not None:
        reference = dataclasses.replace(reference, motion_embeddings=unit(embedder.motions(reference.positions)))
    return Scene(Judge(stretches, embedder), reference)


async def evaluate(wish: EvaluationRequest, settings: Settings) -> Evaluation:
    """Dance and score. Subjects beside those of `serving.evaluation.subjects`: untrained, the same network before its
    training.

    Raises:
        InvalidInput: see `open_scene`.
        ChoreoError: the dancer failed.
    """
    scene = await asyncio.to_thread(open_scene, wish.data, wish.samples, settings)
    judge = scene.judge
    replications, blind = await _danced(wish, judge.stretches, settings)
    rows: list[Row] = []
    for subject in real_and_controls(judge):
        rows += score(subject, scene.reference)
    if blind:
        rows += score(next(danced(judge, blind, "untrained")), scene.reference)
    rows += rows_of_dances(scene, replications)
    return Evaluation(wish, rows, verdicts(rows), list(judge.stretches), replications[0])


def rows_of_dances(scene: Scene, replications: Sequence[Sequence[Dance]]) -> list[Row]:
    """Rows of each subject that all replications have, see `serving.evaluation.subjects.danced`."""
    rows: list[Row] = []
    for subject in zip(*(danced(scene.judge, dances) for dances in replications), strict=False):
        found = combined([score(motions, scene.reference) for motions in subject])
        embeddings = [m.motion_embeddings for m in subject if m.motion_embeddings is not None]
        if len(embeddings) > 1 and subject[0].name == "generated":
            apart = seeds_apart([np.asarray(e) for e in embeddings], "generated")
            found = [row for row in found if row["metric"] != apart["metric"]] + [apart]
        rows += found
    return rows


async def all_dances(
    dancer: Dancer, stretches: Sequence[Stretch], options: DanceOptions, replication: int, title: str
) -> list[Dance]:
    """One dance for each stretch, seeds by replication and stretch; a few at a time, which share batches.

    Raises:
        ChoreoError: a dance failed; the others are given up.
    """
    turns = asyncio.Semaphore(AT_ONCE)
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(title, total=len(stretches))

        async def one(number: int, stretch: Stretch) -> Dance:
            async with turns:
                dance = await dancer.dance(stretch, options, replication * SEED_STRIDE + number)
            progress.advance(task)
            return dance

        try:
            async with asyncio.TaskGroup() as group:
                dances = [group.create_task(one(i, stretch)) for i, stretch in enumerate(stretches)]
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
    return [dance.result() for dance in dances]


async def _danced(
    wish: EvaluationRequest, stretches: Sequence[Stretch], settings: Settings
) -> tuple[list[list[Dance]], list[Dance]]:
    """Dances of each replication, and of the untrained network."""

    async def replications(dancer: Dancer) -> list[list[Dance]]:
        titles = [f"dancing {r + 1}/{wish.replications}" for r in range(wish.replications)]
        return [await all_dances(dancer, stretches, wish.options, r, title) for r, title in enumerate(titles)]

    if wish.url is not None:
        async with server(wish.url) as remote:
            return await replications(remote), []
    checkpoint = wish.checkpoint or settings.weights
    async with in_process(checkpoint, settings.phrases, settings) as dancer:
        made = await replications(dancer)
    if not wish.controls:
        return made, []
    async with untrained(checkpoint, settings.phrases, settings) as dancer:
        return made, await all_dances(dancer, stretches, wish.options, 0, "untrained")


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
