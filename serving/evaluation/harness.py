"""`choreo evaluate`: generated dances scored next to held-out mocap and controls, by every metric that applies.

Each dance is generated from the prompt and the music of one held-out stretch, so all subjects have the same mixture of
content. Half of the stretches are unmodified mocap; the other half is warped onto the beats of songs that are not in
the training split, because only there do music and motion agree to the frame.
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

from choreo.data.clip import Clip
from choreo.data.licences import Licences, licensed
from choreo.data.splits.split import HELD_OUT, TEST
from choreo.errors import InvalidInput
from choreo.evaluation.motions import Motions
from choreo.evaluation.scorecard import Row, score
from choreo.evaluation.text_motion import TextMotionEncoder
from choreo.generators.checkpoint import read_config
from choreo.motion.skeleton import FPS, WINDOW
from choreo.motion.upright import AUTO
from choreo.music.encoders import DSP35, MusicEncoder
from choreo.music.feature_cache import training_encoder
from choreo.training.splits import read_splits
from serving.evaluation.dancers import Dance, DanceOptions, Dancer, in_process, server, untrained
from serving.evaluation.named_models import NamedModel
from serving.evaluation.replications import combined, seeds_apart
from serving.evaluation.stretches import Positions, Stretch, held_out_stretches, windows
from serving.evaluation.subjects import GENERATED, Judge, danced, real_and_controls, unit
from serving.evaluation.targets import Verdict, verdicts
from serving.settings import Settings

SEED_STRIDE: Final = 10_000
"""Distance between the first seeds of two replications; the dances of one replication have consecutive seeds."""
MAX_CONCURRENT: Final = 8
"""Dances generated at the same time, so that they share batches."""


@dataclass(frozen=True)
class EvaluationRequest:
    """What is to be evaluated.

    Attributes:
        data: folder of any data set that `choreo.data.datasets` reads; stretches are taken from its held-out split.
        checkpoint: the generator; None: the shipped one.
        url: of a running server that generates instead.
        samples: number of stretches.
        replications: how often everything is generated, each time with other seeds.
        options: of generation.
        controls: whether an untrained network is scored as well; not possible with a server.
        up: the axis that points up in the data, see `choreo.motion.upright.find_up`.
        split: part that is danced to, `val` or `test`.
        licences: of the recordings that are compared with, see `choreo.data.licences.Licences`.
        beside: checkpoints that dance to the same stretches with the same seeds, each a subject of its own, with these
            options or its own.
        way: how the options were named, for the first model's name in tables.
    """

    data: Path
    checkpoint: Path | None = None
    url: str | None = None
    samples: int = 32
    replications: int = 1
    options: DanceOptions = field(default_factory=DanceOptions)
    controls: bool = True
    up: str = AUTO
    split: str = HELD_OUT
    licences: str = Licences.ALL
    beside: tuple[Path | NamedModel, ...] = ()
    way: str = ""

    def __post_init__(self) -> None:
        for name, value, known in (
            ("split", self.split, (HELD_OUT, TEST)),
            ("licences", self.licences, tuple(str(choice) for choice in Licences)),
        ):
            if value not in known:
                raise InvalidInput(name, f"must be {' or '.join(known)}, got {value!r}")

    @property
    def models_beside(self) -> list[NamedModel]:
        """Those beside the first, each with the options of its dances."""
        return [m if isinstance(m, NamedModel) else NamedModel(m, self.options) for m in self.beside]


@dataclass(frozen=True)
class Evaluation:
    """The results.

    Attributes:
        request: what was evaluated.
        rows: of `choreo.evaluation.scorecard`, by subject.
        verdicts: one per target.
        stretches: the held-out windows.
        dances: of the first replication, one per stretch.
        names_beside: subject and model of each checkpoint beside the first.
    """

    request: EvaluationRequest
    rows: list[Row]
    verdicts: list[Verdict]
    stretches: list[Stretch]
    dances: list[Dance]
    names_beside: dict[str, NamedModel] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """JSON-serialisable form, without the motions."""
        checkpoint = self.request.checkpoint
        paths = {
            "data": str(self.request.data),
            "checkpoint": None if checkpoint is None else str(checkpoint),
            "beside": [model.subject(str(model.folder)) for model in self.request.models_beside],
        }
        results = {"stretches": len(self.stretches), "rows": self.rows, "verdicts": self.verdicts}
        return dataclasses.asdict(self.request) | paths | results


@dataclass(frozen=True)
class Scene:
    """What every subject is scored against: the stretches, and the training split as the reference of distances."""

    judge: Judge
    reference: Motions


def open_scene(request: EvaluationRequest, settings: Settings, encoder: MusicEncoder = DSP35) -> Scene:
    """Read a data set and choose the stretches.

    Args:
        request: what is evaluated.
        settings: where the text-motion encoder is.
        encoder: of the music that is danced to, the generator's.

    Raises:
        InvalidInput: no data set, or no held-out clip that is long enough.
        MissingDependency: songs without precomputed features, and the encoder is not on this machine.
    """
    data, up, part = request.data, request.up, request.split
    splits = read_splits(data, encoder=encoder, up=up, held_out=part)
    held_out = licensed(splits.held_out, request.licences)
    stretches = held_out_stretches(held_out, data / "audio", request.samples, encoder)
    if not stretches:
        longest = max((clip.num_frames for clip in held_out), default=0)
        raise InvalidInput(
            "data",
            f"{data} holds no held-out clip of {WINDOW} frames at {FPS} fps, the longest has {longest}: add recordings "
            f"of {WINDOW / FPS:.1f} s or more",
        )
    embedder = TextMotionEncoder.load(settings.text_motion) if settings.text_motion.is_dir() else None
    reference = Motions("training", _reference(licensed(splits.training, request.licences)))
    if embedder is not None:
        reference = dataclasses.replace(reference, motion_embeddings=unit(embedder.motions(reference.positions)))
    return Scene(Judge(stretches, embedder), reference)


def _reference(training: Sequence[Clip]) -> list[Positions]:
    """Windows of the training clips; the clips themselves where all are shorter."""
    found = [stretch.positions for stretch in windows(training)]
    return found or [clip.positions().astype(np.float32) for clip in training]


async def music_encoder_name(request: EvaluationRequest, settings: Settings) -> str:
    """Name of the music encoder of what is evaluated.

    Raises:
        InvalidArtifact: the checkpoint cannot be used.
        BackendUnavailable: the server does not say what it serves.
    """
    if request.url is not None:
        async with server(request.url) as remote:
            return await remote.music_encoder()
    return read_config(request.checkpoint or settings.weights).spec.music_encoder


async def evaluate(request: EvaluationRequest, settings: Settings) -> Evaluation:
    """Generate and score.

    The subjects are those of `serving.evaluation.subjects`, `untrained`: the same network before its training, and
    the checkpoints beside it by their names, each also heard with the music of another stretch.

    Raises:
        InvalidInput: no data set, no held-out clip that is long enough, or a checkpoint beside the first that hears
            music by another encoder.
        ChoreoError: the songs cannot be encoded as the generator needs them, or generation failed.
    """
    encoder = training_encoder(await music_encoder_name(request, settings), settings.beat_tracker)
    names = _names_beside(request, encoder)
    scene = await asyncio.to_thread(open_scene, request, settings, encoder)
    judge = scene.judge
    replications, untrained_dances = await _generate(request, judge.stretches, settings)
    rows: list[Row] = []
    for subject in real_and_controls(judge):
        rows += score(subject, scene.reference)
    if untrained_dances:
        rows += score(next(danced(judge, untrained_dances, "untrained")), scene.reference)
    rows += rows_of_dances(scene, replications)
    for name, model in names.items():
        async with in_process(model.folder, None, settings) as dancer:
            own = dataclasses.replace(request, options=model.options)
            rows += rows_of_dances(scene, await _replications(own, judge.stretches, dancer, name), name)
    return Evaluation(request, rows, verdicts(rows), list(judge.stretches), replications[0], names)


def _names_beside(request: EvaluationRequest, encoder: MusicEncoder) -> dict[str, NamedModel]:
    """Subject and model of each checkpoint beside the first; names that several have are numbered."""
    names: dict[str, NamedModel] = {}
    for model in request.models_beside:
        spec = read_config(model.folder).spec
        if spec.music_encoder != encoder.name:
            raise InvalidInput("beside", f"{model.folder} hears music by {spec.music_encoder}, not by {encoder.name}")
        subject = model.subject(spec.name)
        taken = sum(name.split(" (")[0] == subject for name in names)
        names[f"{subject} ({taken + 1})" if taken else subject] = model
    return names


def rows_of_dances(scene: Scene, replications: Sequence[Sequence[Dance]], name: str = GENERATED) -> list[Row]:
    """Rows of each subject of `serving.evaluation.subjects.danced` that all replications have."""
    rows: list[Row] = []
    for subject in zip(*(danced(scene.judge, dances, name) for dances in replications), strict=False):
        found = combined([score(motions, scene.reference) for motions in subject])
        embeddings = [m.motion_embeddings for m in subject if m.motion_embeddings is not None]
        if len(embeddings) > 1 and subject[0].name == name:
            apart = seeds_apart([np.asarray(e) for e in embeddings], name)
            found = [row for row in found if row["metric"] != apart["metric"]] + [apart]
        rows += found
    return rows


async def all_dances(
    dancer: Dancer, stretches: Sequence[Stretch], options: DanceOptions, replication: int, title: str
) -> list[Dance]:
    """One dance per stretch, MAX_CONCURRENT at a time; seeds are given by replication and stretch.

    Args:
        dancer: what generates.
        stretches: to dance to.
        options: of generation.
        replication: number of this replication, from 0.
        title: shown next to the progress bar on stderr.
    Raises:
        ChoreoError: a dance failed; the others are cancelled.
    """
    slots = asyncio.Semaphore(MAX_CONCURRENT)
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(title, total=len(stretches))

        async def one(number: int, stretch: Stretch) -> Dance:
            async with slots:
                dance = await dancer.dance(stretch, options, replication * SEED_STRIDE + number)
            progress.advance(task)
            return dance

        try:
            async with asyncio.TaskGroup() as group:
                dances = [group.create_task(one(i, stretch)) for i, stretch in enumerate(stretches)]
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
    return [dance.result() for dance in dances]


async def _replications(
    request: EvaluationRequest, stretches: Sequence[Stretch], dancer: Dancer, name: str = "dancing"
) -> list[list[Dance]]:
    titles = [f"{name} {r + 1}/{request.replications}" for r in range(request.replications)]
    return [await all_dances(dancer, stretches, request.options, r, title) for r, title in enumerate(titles)]


async def _generate(
    request: EvaluationRequest, stretches: Sequence[Stretch], settings: Settings
) -> tuple[list[list[Dance]], list[Dance]]:
    """Dances of each replication, and of the untrained network."""
    if request.url is not None:
        async with server(request.url) as remote:
            return await _replications(request, stretches, remote), []
    checkpoint = request.checkpoint or settings.weights
    async with in_process(checkpoint, None, settings) as dancer:
        made = await _replications(request, stretches, dancer)
    if not request.controls:
        return made, []
    async with untrained(checkpoint, None, settings) as dancer:
        return made, await all_dances(dancer, stretches, request.options, 0, "untrained")
