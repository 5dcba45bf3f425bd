"""The one orchestration: encode, retrieve, sample, finish. In this process and behind the servers it is this code."""

import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

from choreo.errors import DeadlineExceeded, InvalidInput
from choreo.generators.spec import GeneratorSpec
from choreo.motion.skeleton import FPS
from choreo.music.song_beats import SongBeats
from serving.errors import ModelUnavailable
from serving.pipeline.contracts import Stages
from serving.pipeline.encoded_request import EncodedRequest
from serving.pipeline.guidance import separate_guidance
from serving.pipeline.length_checks import check_fits
from serving.pipeline.phrases import PhraseQuery, RetrievalResult, SearchResult
from serving.pipeline.request import MotionRequest
from serving.pipeline.results import DeliveredFile, Result, SampleScore, SamplingResult, StepCounts
from serving.util import logs
from serving.util.tracing import note, span

NOTHING_SURE = "no beat of the song is sure, so that the dance was not moved to the beats"
NOT_WANTED = RetrievalResult(None, "use_rag is false")


@dataclass(frozen=True)
class DanceResult:
    """A request up to its features, the metadata of its motion, the seconds of the stages, and the song's beats."""

    sampled: SamplingResult
    retrieved: RetrievalResult
    meta: dict[str, Any]
    seconds: dict[str, float]
    beats: SongBeats


class Pipeline:
    """Runs requests through the stages and times them."""

    def __init__(self, stages: Stages) -> None:
        self._stages = stages

    @property
    def stages(self) -> Stages:
        """Where the work is done."""
        return self._stages

    async def models(self) -> dict[str, GeneratorSpec]:
        """Contracts of the served generators, the default one first."""
        return await self._stages.sampler.models()

    async def run(self, request: MotionRequest) -> Result:
        """One finished motion.

        Raises:
            ChoreoError: what the stages raise; `DeadlineExceeded` before a stage that would start too late.
        """
        dance = await self._dance(request)
        sampled, seconds = dance.sampled, dance.seconds
        with logs.about(model=sampled.model):
            async with _timed("finish", seconds, request):
                light = request.without_song()
                performance, before_locks = await self._stages.finisher.finish(light, sampled, dance.meta, dance.beats)
        return Result(
            performance,
            before_locks,
            sampled.model,
            request.seed,
            dance.retrieved,
            seconds,
            sampled.rows,
            request.preset,
            sampled.steps,
            dance.meta.get("samples_failed", 0),
        )

    async def deliver(self, request: MotionRequest, about: dict[str, Any]) -> DeliveredFile:
        """One finished motion in the request's format.

        Args:
            about: added to the motion's metadata together with the seconds of the stages, unless it is empty.

        Raises:
            ChoreoError: as in `run`.
        """
        dance = await self._dance(request)
        sampled, seconds = dance.sampled, dance.seconds
        more = about and about | {"model": sampled.model, "rows": sampled.rows, "seconds": seconds}
        in_time("finish", request)
        needed = request if request.format.needs_audio else request.without_song()
        with logs.about(model=sampled.model), span("finish"):
            file = await self._stages.finisher.deliver(needed, sampled, dance.meta | more, dance.beats)
        return DeliveredFile(
            file.body,
            request.delivered_frames(sampled.features.shape[-2], sampled.fps),
            dance.retrieved,
            seconds | file.seconds,
            sampled.rows,
            sampled.model,
            dance.meta["notes"],
            request.preset,
            sampled.steps,
            dance.meta.get("samples", ()),
            dance.meta.get("samples_failed", 0),
        )

    async def search(self, request: MotionRequest, top_n: int) -> tuple[EncodedRequest, SearchResult]:
        """The phrases that `run` would begin from, and those after them.

        Raises:
            ChoreoError: as in `run`.
        """
        encoded = await self._stages.encoder.encode(request, await self._spec(request.model))
        return encoded, await self._stages.retriever.search(PhraseQuery.of(request, encoded), top_n)

    async def _dance(self, request: MotionRequest) -> DanceResult:
        stages, spec = self._stages, await self._spec(request.model)
        light = replace(request.without_song().without_rig(), model=spec.name)
        seconds: dict[str, float] = {}
        with logs.about(model=spec.name):
            async with _timed("encode", seconds, request):
                encoded = await stages.encoder.encode(request.without_rig(), spec)
                check_fits(light, encoded.num_frames)
            async with _timed("retrieve", seconds, request):
                query = PhraseQuery.of(light, encoded)
                retrieved = await stages.retriever.retrieve(query) if request.use_rag else NOT_WANTED
            async with _timed("sample", seconds, request):
                samples = await self._samples(light, encoded, retrieved)
                generated = [sample for sample in samples if sample is not None]
                sampled = merged(generated[0], generated)
                _note_sampled(request, sampled)
            meta = provenance(light, encoded, retrieved, sampled)
            if len(samples) > 1:
                async with _timed("rank", seconds, request):
                    scores = await stages.finisher.score(light, samples, encoded.beats)
                sampled = merged(_best(samples, scores), generated)
                ranked = [asdict(score) for score in scores if score is not None]
                meta |= {"samples": ranked, "samples_failed": len(scores) - len(ranked)}
        return DanceResult(sampled, retrieved, meta, seconds, encoded.beats)

    async def _samples(
        self, request: MotionRequest, encoded: EncodedRequest, retrieved: RetrievalResult
    ) -> list[SamplingResult | None]:
        """The features of every sample of a request, as `SampleStage.samples` gives them."""
        sampler = self._stages.sampler
        if request.num_samples == 1:
            return [await sampler.sample(request, encoded.conditioning, retrieved.prior)]
        return await sampler.samples(request, encoded.conditioning, retrieved.prior)

    async def _spec(self, model: str | None) -> GeneratorSpec:
        """Contract of the named generator, or of the default one.

        Raises:
            InvalidInput: no generator of that name is served.
        """
        return chosen(await self.models(), model)


def merged(best: SamplingResult, samples: Sequence[SamplingResult]) -> SamplingResult:
    """One of the samples of a request, with the rows and step batches of all that were generated."""
    rows: Counter[str] = Counter()
    for sample in samples:
        rows.update(sample.rows)
    steps = [sample.steps for sample in samples]
    total = StepCounts(*(sum(getattr(each, name) for each in steps) for name in ("batches", "rows", "capacity")))
    return replace(best, rows=dict(rows), steps=total)


def _best(samples: Sequence[SamplingResult | None], scores: Sequence[SampleScore | None]) -> SamplingResult:
    pairs = zip(samples, scores, strict=True)
    return next(sample for sample, score in pairs if sample is not None and score is not None and score.chosen)


def chosen(models: dict[str, GeneratorSpec], name: str | None) -> GeneratorSpec:
    """The generator of that name, or the default one.

    Raises:
        InvalidInput: no generator of that name is served.
        ModelUnavailable: none is served at all.
    """
    if not models:
        raise ModelUnavailable("no model is served at the moment")
    if name is None:
        return next(iter(models.values()))
    if name not in models:
        raise InvalidInput("model", f"must be one of {', '.join(sorted(models))}, got {name[:32]!r}")
    return models[name]


def provenance(
    request: MotionRequest, encoded: EncodedRequest, retrieved: RetrievalResult, sampled: SamplingResult
) -> dict[str, Any]:
    """What a motion file says about where it came from."""
    return {
        "seed": request.seed,
        "model": sampled.model,
        "rows": sampled.rows,
        "prompt": request.text,
        "song": encoded.song,
        "tempo": round(encoded.tempo, 2),
        **_beat_times(encoded),
        "notes": [*encoded.notes, *_beat_notes(request, encoded), *request.given_notes],
        "sampler": request.sampler,
        "num_steps": request.num_steps,
        "guidance_scale": request.guidance_scale,
        **separate_guidance(request.guidance_scale, request.text_guidance, request.music_guidance),
        "prior": retrieved.document(),
        "phrases": retrieved.phrases(),
        **({"sections": [section.document() for section in encoded.sections]} if request.repeat_sections else {}),
        **_planned(sampled),
    }


def _beat_times(encoded: EncodedRequest) -> dict[str, list[float]]:
    """Beats and first beats of bars within the motion, seconds from its start; nothing without a song."""
    if encoded.song is None:
        return {}
    heard, seconds = encoded.conditioning, encoded.num_frames / FPS
    times = {"beats": heard.beats, "downbeats": heard.downbeats}
    return {name: [round(float(time), 3) for time in found if time <= seconds] for name, found in times.items()}


def _planned(sampled: SamplingResult) -> dict[str, Any]:
    """At which frames of the motion, at the model's frame rate, there are key poses; nothing of models without any."""
    if sampled.key_poses is None:
        return {}
    return {"key_poses": {"fps": sampled.fps, "frames": sampled.key_poses.frames.tolist()}}


def _beat_notes(request: MotionRequest, encoded: EncodedRequest) -> list[str]:
    wanted = request.finish.on_beat is True
    return [NOTHING_SURE] if wanted and not len(encoded.beats.sure) else []


def in_time(stage: str, request: MotionRequest) -> None:
    """Raise `DeadlineExceeded` where a stage would start too late."""
    if time.time() > request.deadline:
        raise DeadlineExceeded(f"the deadline passed before {stage}")


def _note_sampled(request: MotionRequest, sampled: SamplingResult) -> None:
    """Say in the trace what was sampled."""
    note(
        model=sampled.model,
        preset=request.preset,
        sampler=request.sampler,
        steps=request.num_steps,
        rows=sum(sampled.rows.values()),
        frames=sampled.features.shape[-2],
        **{f"rows.{graph}": rows for graph, rows in sampled.rows.items()},
    )


@asynccontextmanager
async def _timed(stage: str, seconds: dict[str, float], request: MotionRequest) -> AsyncIterator[None]:
    in_time(stage, request)
    began = time.perf_counter()
    try:
        with span(stage):
            yield
    finally:
        seconds[stage] = round(time.perf_counter() - began, 4)
