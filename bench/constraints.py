"""How well a generator keeps to what requests give: poses, spans, paths, loops, one spot.

Each case is danced for several references, which are dances of the same generator with other seeds, or held-out
recordings with `--data`. `error` is the distance of the joints (of a path and one spot: of the root over the floor) to
what was given, `jump` how far the joints move between a given frame and its free neighbour before they are eased into
each other, next to what they move from frame to frame elsewhere, and `seam` the fastest joint at the borders after
finishing, next to the 99th percentile of the frames farther away.
"""

import asyncio
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import typer
from numpy.typing import NDArray

from bench.command import CHECKPOINT, DATA, benchmark, quick
from bench.report import Row
from choreo.generators.base import Conditioning, GenerationRequest, run, zeros
from choreo.generators.checkpoint import load_generator
from choreo.generators.constraints import root_of
from choreo.generators.given_frames import GivenFrames, given_frames
from choreo.generators.registry import generator
from choreo.generators.windowed import ConditionedTrajectory
from choreo.motion.clip import Motion
from choreo.motion.formats.npz import npz_bytes
from choreo.motion.representation import in_default, representation
from choreo.motion.skeleton import FPS
from choreo.training.splits import read_splits
from serving.pipeline.fields import parse_fields
from serving.pipeline.request import Attachments, MotionRequest
from serving.pipeline.results import SamplingResult
from serving.pipeline.validation import validated_request
from serving.settings import Settings
from serving.stages.encoder import Encoder
from serving.stages.finisher import finish_request

FRAMES: Final = 180
PROMPT: Final = "a dancer performs a cha-cha, with turns"
NEAR, FAR = 3, 15
"""Frames from a border that belong to it, and that are away from it."""
KEYS: Final = (45, 90, 135)
HELD: Final = ((0, 44), (120, 179))
CLIP: Final = 20
"""Frames of a start and of an end."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    """One kind of constraint: its fields and files, made of a reference (T, 22, 3)."""

    name: str
    fields: Callable[[Array], dict[str, Any] | None]
    files: Callable[[Array], dict[str, bytes]] = lambda reference: {}


def _file(positions: Array) -> bytes:
    return npz_bytes(Motion(positions.astype(np.float32), FPS))


CASES: Final = (
    Case("start", lambda r: None, lambda r: {"start": _file(r[:CLIP])}),
    Case("end", lambda r: None, lambda r: {"end": _file(r[-CLIP:])}),
    Case("keyframes", lambda r: {"keyframes": [{"frame": k, "pose": r[k].tolist()} for k in KEYS]}),
    Case("hold", lambda r: {"hold": [list(span) for span in HELD]}, lambda r: {"clip": _file(r)}),
    Case("path", lambda r: {"path": [[k / FPS, *root_of(r[k])] for k in (*range(0, FRAMES - 1, 30), FRAMES - 1)]}),
    Case("loop", lambda r: {"loop": True}),
    Case("in_place", lambda r: {"in_place": True}),
)


@benchmark
def main(
    checkpoint: Annotated[Path | None, CHECKPOINT] = None,
    data: Annotated[Path | None, DATA] = None,
    seeds: Annotated[int, typer.Option(min=1, max=64, help="Dances of each case.")] = 8,
    steps: Annotated[int, typer.Option(min=1, max=1000, help="Denoising steps (DDIM).")] = 50,
    quick: Annotated[bool, quick("one dance of each case, in four steps")] = False,
) -> Iterator[Row]:
    """Rows by case."""
    if quick:
        seeds, steps = 1, 4
    settings = Settings()
    dancer = _Dancer(checkpoint or settings.weights, settings, steps)
    free = dancer.dance([dancer.request(None, {}, 1000 + seed) for seed in range(seeds)])
    references = [one.finished for one in free] if data is None else recordings(data, seeds)
    for case in CASES:
        wanted = [dancer.request(case.fields(r), case.files(r), i) for i, r in enumerate(references)]
        yield from rows(case.name, dancer.dance(wanted))


def recordings(data: Path, count: int) -> list[Array]:
    """The first seconds of held-out recordings, standing at the origin."""
    clips = [clip for clip in read_splits(data, 4 * count).held_out if clip.num_frames >= FRAMES]
    return [clips[i % len(clips)].positions()[:FRAMES] for i in range(count)]


@dataclass(frozen=True)
class Danced:
    """One dance: positions (T, 22, 3) as they were sampled, before easing, and finished; and what was given."""

    given: GivenFrames
    sampled: Array
    finished: Array


class _Dancer:
    """Dances many requests in one batch, with the network itself."""

    def __init__(self, checkpoint: Path, settings: Settings, steps: int) -> None:
        self._network = load_generator(checkpoint)
        self._spec, self._settings, self._steps = self._network.config.spec, settings, steps
        encoder = Encoder(settings)
        request = self.request(None, {}, 0)
        self._text = asyncio.run(encoder.encode(request, self._spec)).conditioning.text
        encoder.close()

    def request(self, fields: dict[str, Any] | None, files: dict[str, bytes], seed: int) -> MotionRequest:
        values = {
            "text_prompt": PROMPT, "seed": seed, "duration": FRAMES / FPS, "num_steps": self._steps, "use_rag": False,
            "constraints": fields,
        }  # fmt: skip
        return validated_request(parse_fields(values), Attachments(**files), self._settings)

    def dance(self, requests: list[MotionRequest]) -> list[Danced]:
        begin = generator(self._spec).begin
        conditioning = Conditioning(FRAMES, text=self._text)
        trajectories = [begin(_generation(request), conditioning) for request in requests]
        run(trajectories, self._network.evaluate, lambda graph, n: zeros(self._spec.graph(graph), n))
        return [self._danced(request, t) for request, t in zip(requests, trajectories, strict=True)]

    def _danced(self, request: MotionRequest, trajectory: Any) -> Danced:
        assert isinstance(trajectory, ConditionedTrajectory)
        given = given_frames(request.start, request.constraints, FRAMES, self._spec.fps)
        motion = representation(self._spec.representation)
        sampled = given.moved_to_place(motion.decode(trajectory.sampled(), self._spec.fps))
        result = SamplingResult(in_default(trajectory.result(), motion), self._spec.name, self._spec.fps, {})
        performance, _ = finish_request(request, result, {})
        return Danced(given, sampled, np.asarray(performance.positions[0], np.float64))


def _generation(request: MotionRequest) -> GenerationRequest:
    return GenerationRequest(
        num_steps=request.num_steps,
        sampler=request.sampler,
        guidance_scale=request.guidance_scale,
        guidance_interval=request.guidance_interval,
        seed=request.seed,
        start=request.start,
        constraints=request.constraints,
    )


def rows(name: str, dances: list[Danced]) -> Iterator[Row]:
    """Errors, jumps and seams of one case."""
    before, after = ([error(d.given, getattr(d, stage)) for d in dances] for stage in ("sampled", "finished"))
    yield Row(name, "error before finishing, mean", 100 * float(np.mean([e.mean() for e in before])), "cm")
    yield Row(name, "error after finishing, mean", 100 * float(np.mean([e.mean() for e in after])), "cm")
    yield Row(name, "error after finishing, max", 100 * float(np.max([e.max() for e in after])), "cm")
    borders = [border(d.given) for d in dances]
    pairs = [pair for pair in zip(dances, borders, strict=True) if pair[1].any()]
    if not pairs:
        return
    jumps = [jump(d, b) for d, b in pairs]
    yield Row(name, "jump before easing", 100 * float(np.mean([j for j, _ in jumps])), "cm")
    yield Row(name, "the same elsewhere", 100 * float(np.mean([e for _, e in jumps])), "cm")
    for order, metric in ((1, "speed"), (2, "acceleration")):
        ratios = [seam(d.finished, b, order) for d, b in pairs]
        yield Row(name, f"seam {metric}", float(np.mean(ratios)), "ratio")


def error(given: GivenFrames, positions: Array) -> Array:
    """Distance to what was given, metres: of joints at given poses, else of the root; of a loop, between its ends."""
    if given.posed.any():
        return np.asarray(np.linalg.norm(positions - given.positions, axis=-1)[given.posed])
    if given.loop:
        return np.asarray(np.linalg.norm(positions[0] - positions[-1], axis=-1))
    if given.placed.any():
        way = root_of(positions) - given.root
        way -= way[np.flatnonzero(given.placed)[0]]  # one spot is any spot
        return np.asarray(np.linalg.norm(way[given.placed], axis=-1))
    return np.zeros(1)


def border(given: GivenFrames) -> NDArray[np.bool_]:
    """(T - 1,) whether a given pose and a free frame meet between two frames."""
    return np.asarray(given.posed[1:] != given.posed[:-1])


def jump(dance: Danced, borders: NDArray[np.bool_]) -> tuple[float, float]:
    """Mean movement of the joints, relative to the root, from frame to frame: at borders, and elsewhere; metres."""
    inner = dance.sampled - dance.sampled[:, :1]
    moved = np.linalg.norm(np.diff(inner, axis=0), axis=-1).mean(axis=1)
    return float(moved[borders].mean()), float(moved[~borders].mean())


def seam(positions: Array, borders: NDArray[np.bool_], order: int) -> float:
    """Greatest joint speed or acceleration near borders over its 99th percentile away from them."""
    size = np.linalg.norm(np.diff(positions, n=order, axis=0), axis=-1).max(axis=1)
    gap = np.abs(np.arange(len(size))[:, None] - np.flatnonzero(borders)).min(axis=1)
    return float(size[gap <= NEAR].max() / np.quantile(size[gap > FAR], 0.99))


if __name__ == "__main__":
    sys.exit(main())
