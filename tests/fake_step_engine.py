"""An engine for step batches whose graphs are known functions of each row alone, and requests over it."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import numpy as np

from choreo.diffusion.samplers import sampler
from choreo.diffusion.trajectory import OVERLAP, Plan, ReverseProcess
from choreo.diffusion.windows import timeline_length, window_starts
from choreo.generators.base import Tensors, zeros
from choreo.generators.spec import GraphSpec
from choreo.generators.unet.graphs import unet_spec
from serving.sampling.runner import BatchOptions, StepBatchRunner
from serving.sampling.step_buffer import StepBuffer

SPEC = unet_spec("fake", context_dim=2, context_tokens=3, mean=(0.0,) * 66, std=(1.0,) * 66)
OTHER = unet_spec("other", context_dim=2, context_tokens=3, mean=(0.0,) * 66, std=(1.0,) * 66)
DENOISER = SPEC.graph("denoiser")


def denoised(inputs: Tensors, rows: int) -> Tensors:
    """x0 = x / 4 + prior's mask + context: different for every row, and for conditional and unconditional ones."""
    out = 0.25 * inputs["x"][:rows] + inputs["prior"][:rows, :, -1:] + inputs["context"][:rows, :1, :1]
    return {"x0": (out + 1e-4 * inputs["t"][:rows, None]).astype(np.float32)}


def conditioned(inputs: Tensors, rows: int) -> Tensors:
    context = np.tile(inputs["text"][:rows, :1, None], (1, 3, 2))
    return {"context": context, "context_mask": np.ones((rows, 3), np.float32)}


Fault = Callable[[int, Tensors, Tensors], Awaitable[Tensors]]


class FakeEngine:
    """Keeps the sizes of its batches; `fault` may raise, wait or change what comes out.

    It is its own transport of every graph.
    """

    def __init__(self, fault: Fault | None = None, instances: int = 1) -> None:
        self.sizes: list[int] = []
        self.keys: list[str] = []
        self.running = self.most_at_once = 0
        self.fault, self.computed = fault, instances
        self.opened, self.closed = Counter[str](), Counter[str]()

    async def instances(self, graph: str) -> int:
        return self.computed

    async def infer(self, graph: str, inputs: Tensors, *, deadline: float | None = None) -> Tensors:
        return await self.evaluate(graph, inputs, len(next(iter(inputs.values()))))

    async def evaluate(self, key: str, inputs: Tensors, rows: int) -> Tensors:
        number = len(self.sizes)
        self.sizes.append(rows)
        self.keys.append(key)
        self.running += 1
        self.most_at_once = max(self.most_at_once, self.running)
        try:
            await asyncio.sleep(0)
            out = (denoised if key.endswith("denoiser") else conditioned)(inputs, rows)
            return out if self.fault is None else await self.fault(number, inputs, out)
        finally:
            self.running -= 1

    def transport(self, key: str, graph: GraphSpec) -> "FakeTransport":
        self.opened[key] += 1
        return FakeTransport(self, key, graph)


class FakeTransport:
    """Takes batches to a `FakeEngine`, until it is closed."""

    def __init__(self, engine: FakeEngine, key: str, graph: GraphSpec) -> None:
        self._engine, self._key, self._graph = engine, key, graph

    def inputs(self, rows: int) -> Tensors:
        return zeros(self._graph, rows)

    async def evaluate(self, inputs: Tensors, rows: int, deadline: float | None) -> Tensors:
        return await self._engine.evaluate(self._key, inputs, rows)

    async def close(self) -> None:
        self._engine.closed[self._key] += 1


def runner(engine: FakeEngine, **options: int) -> StepBatchRunner:
    return StepBatchRunner(engine, BatchOptions(**options), engine.transport)  # type: ignore[arg-type]


def trajectory(frames: int = 196, **changes: Any) -> ReverseProcess:
    plan = {"sampler": sampler("ddim"), "num_steps": 5, "guidance_scale": 2.5} | changes
    name = plan.pop("name", 0.0)
    starts = window_starts(frames, SPEC.window, OVERLAP)
    length = timeline_length(starts, SPEC.window)
    rows = len(starts) + 1
    context = np.tile(np.linspace(0, 1, rows, dtype=np.float32)[:, None, None] + np.float32(name), (1, 3, 2))
    mask = np.ones((rows, 3), np.float32)
    widths = {"prior": 67, "rhythm": 4, "known": 66, "known_mask": 66}
    timelines = {name: np.zeros((length, width), np.float32) for name, width in widths.items()}
    timelines["prior"][:, -1] = np.sin(np.arange(length) / 50)
    encoded = {"context": context, "context_mask": mask}
    return ReverseProcess(SPEC, DENOISER, Plan(**plan), starts, encoded, timelines)


def rows_of(some: ReverseProcess) -> int:
    return some.evaluated["denoiser"]


def alone(some: ReverseProcess) -> np.ndarray:
    """What comes of a trajectory when every row is evaluated by itself."""
    buffer = StepBuffer(zeros(DENOISER, 1))
    while not some.done:
        for row in range(some.rows):
            buffer.load([(some, row)])
            some.add(row, {"x0": denoised(buffer.inputs, 1)["x0"][0]})
        some.advance()
    return some.x


def together(some: Sequence[ReverseProcess], engine: FakeEngine, **options: int) -> list[Any]:
    async def everything() -> list[Any]:
        batches = runner(engine, **options)
        return await asyncio.gather(*(batches.run(t, SPEC) for t in some), return_exceptions=True)

    return asyncio.run(everything())
