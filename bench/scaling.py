"""The overhead of the step batch runner (`serving.sampling.runner`) over a simulated engine of known speed.

The engine takes a known time per step batch and per row, one batch after the other. The ideal rate is that of batches
as large as they can be, without a pause; what is missing from it is the runner's overhead, and what it costs to make
smaller batches so that one is always queued. `rows/N` keeps N rows in flight. `queued/N` queues N requests, denoises as
many at a time as a sampler replica does, and reports the processor time of each and the memory of all.
"""

import asyncio
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Final

import numpy as np
import typer
from numpy.typing import NDArray

from bench.command import benchmark
from bench.report import Row, anonymous_mib
from choreo.command_line import numbers, say
from choreo.diffusion.parameters import DiffusionParameters
from choreo.diffusion.samplers import sampler
from choreo.diffusion.trajectory import Plan, ReverseProcess
from choreo.errors import InvalidInput
from choreo.generators.base import Tensors
from choreo.generators.spec import GeneratorSpec, Null
from choreo.generators.unet.graphs import unet_spec
from choreo.generators.windowed import DENOISER
from serving.sampling.runner import StepBatchRunner
from serving.sampling.scheduler import BatchOptions
from serving.settings import Settings

SPEC: Final = unet_spec("simulated", context_dim=128, mean=(0.0,) * 66, std=(1.0,) * 66)
GRAPH: Final = SPEC.graph(DENOISER)
BATCH_S: Final = 0.002
ROW_S: Final = 0.003
"""Cost of a step batch and of each of its rows in seconds: those of a small network on two cores."""
STEPS: Final = 4
"""Steps of a queued request."""


class SimulatedEngine:
    """A `serving.engines.base.Engine` that takes a known time per call and computes nothing.

    Args:
        batch_s, row_s: cost of a step batch and of each of its rows, seconds.

    Attributes:
        rows: number of rows evaluated so far.
        late_s: total delay of the event loop's timers, which is not the runner's overhead.
    """

    def __init__(self, batch_s: float, row_s: float) -> None:
        self._batch_s, self._row_s = batch_s, row_s
        self._turn = asyncio.Lock()
        self.rows = 0
        self.late_s = 0.0

    async def models(self) -> dict[str, GeneratorSpec]:
        """The one generator."""
        return {SPEC.name: SPEC}

    async def instances(self, graph: str) -> int:
        """One."""
        return 1

    async def infer(
        self, graph: str, inputs: Mapping[str, NDArray[np.float32]], *, deadline: float | None = None
    ) -> Tensors:
        """Half of x, after the cost of the batch; batches wait for each other as for a processor."""
        rows = len(inputs["x"])
        async with self._turn:
            cost, began = self.cost(rows), time.perf_counter()
            await asyncio.sleep(cost)
            self.late_s += time.perf_counter() - began - cost
        self.rows += rows
        return {name: np.float32(0.5) * inputs["x"] for name in GRAPH.output_shapes}

    async def close(self) -> None:
        """Nothing to release."""

    async def statistics(self) -> dict[str, int]:
        """Rows evaluated so far."""
        return {SPEC.key(GRAPH.name): self.rows}

    def cost(self, rows: int) -> float:
        """Seconds of a step batch."""
        return self._batch_s + self._row_s * rows

    def best_rate(self, rows: int) -> float:
        """Rows per second if batches of this size follow each other without a pause."""
        return rows / self.cost(rows)


@benchmark
def main(
    in_flight: Annotated[str, typer.Option(help="Even numbers of rows, separated by commas.")] = "2,8,32,64,128,256",
    queued: Annotated[str, typer.Option(help="Numbers of requests, separated by commas.")] = "10,100,1000,10000",
    seconds: Annotated[float, typer.Option(min=0.001, max=600, help="Engine time per number of rows.")] = 5.0,
) -> Iterator[Row]:
    """Rates with rows in flight, and the cost of queued requests."""
    rows, requests = numbers("in-flight", in_flight, 1, 4096), numbers("queued", queued, 1, 1_000_000)
    if any(count % 2 for count in rows):
        raise InvalidInput("in-flight", f"must be even, as a request has two rows, got {in_flight}")
    yield from _rows(rows, requests, seconds)


def _rows(in_flight: Sequence[int], queued: Sequence[int], seconds: float) -> Iterator[Row]:
    settings = Settings()
    for rows in in_flight:
        say(f"{rows} rows in flight")
        yield from asyncio.run(_rate(rows, settings.step_batch_rows, seconds))
    for count in queued:
        say(f"{count} requests queued")
        yield from asyncio.run(_queue(count, settings.sampler_concurrency, settings.step_batch_rows))


async def _rate(rows: int, batch_rows: int, seconds: float) -> list[Row]:
    """Rows per second with a constant number of rows in flight."""
    engine = SimulatedEngine(BATCH_S, ROW_S)
    ideal = engine.best_rate(min(rows, batch_rows))
    steps = min(max(round(seconds * ideal / rows), 4), DiffusionParameters.of(SPEC).num_train_timesteps)
    runner = StepBatchRunner(engine, BatchOptions(rows=batch_rows))
    trajectories = [_trajectory(seed, steps) for seed in range(rows // 2)]
    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(runner.run(trajectory, SPEC) for trajectory in trajectories))
    took, spent = time.perf_counter() - began - engine.late_s, time.process_time() - cpu
    await runner.close()
    return [
        Row(f"rows/{rows}", "rows_per_s", engine.rows / took, "rows/s"),
        Row(f"rows/{rows}", "fraction_of_ideal", engine.rows / took / ideal, ""),
        Row(f"rows/{rows}", "cpu_ms_per_row", 1e3 * spent / engine.rows, "ms"),
    ]


async def _queue(count: int, at_a_time: int, batch_rows: int) -> list[Row]:
    """Cost per request if many wait for their turn as in `serving.stages.sampler.Sampler`."""
    engine = SimulatedEngine(BATCH_S / 100, ROW_S / 100)
    runner, turns = StepBatchRunner(engine, BatchOptions(rows=batch_rows)), asyncio.Semaphore(at_a_time)
    most = anonymous_mib()

    async def one(seed: int) -> None:
        nonlocal most
        async with turns:
            await runner.run(_trajectory(seed, STEPS), SPEC)
        if seed % max(count // 20, 1) == 0:
            most = max(most, anonymous_mib())

    cpu = time.process_time()
    await asyncio.gather(*(one(seed) for seed in range(count)))
    spent = time.process_time() - cpu
    await runner.close()
    return [
        Row(f"queued/{count}", "cpu_ms_per_motion", 1e3 * spent / count, "ms"),
        Row(f"queued/{count}", "resident_mib", most, "MiB"),
    ]


def _trajectory(seed: int, steps: int) -> ReverseProcess:
    """One window with guidance: a conditional and an unconditional row at every step."""
    others = [tensor for tensor in GRAPH.inputs if tensor.name not in ("x", "t")]
    encoded = {t.name: np.zeros((2, *t.shape), np.float32) for t in others if t.null is Null.ENCODED}
    timelines = {t.name: np.zeros(t.shape, np.float32) for t in others if t.null is not Null.ENCODED}
    plan = Plan(sampler=sampler("ddim"), num_steps=steps, guidance_scale=2.5, seed=seed)
    return ReverseProcess(SPEC, GRAPH, plan, [0], encoded, timelines)


if __name__ == "__main__":
    sys.exit(main())
