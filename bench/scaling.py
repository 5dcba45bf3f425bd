"""The overhead of the step batch runner (`serving.sampling.runner`) over a simulated engine of known speed.

The engine takes a known time per step batch and per row, one batch after the other, so that whatever is missing from
the ideal rate is the runner's overhead. `rows/N` keeps N rows in flight. `queued/N` queues N requests, denoises as many
at a time as a sampler replica does, and reports the processor time of each and the memory of all.
"""

import asyncio
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Annotated, Final

import numpy as np
import typer
from numpy.typing import NDArray

from bench.command import benchmark
from bench.report import Row, anonymous_mib
from choreo.command_line import numbers, say
from choreo.diffusion.samplers import sampler
from choreo.diffusion.trajectory import TIMELINES, Plan, Trajectory
from choreo.errors import InvalidInput
from choreo.generators.spec import ModelSpec
from serving.engines.tensors import Tensors
from serving.sampling.runner import BatchOptions, StepBatchRunner
from serving.sampling.step_buffer import denoiser_inputs
from serving.settings import Settings

SPEC: Final = ModelSpec(name="simulated", context_dim=128, mean=(0.0,) * 66, std=(1.0,) * 66)
BATCH_S: Final = 0.002
ROW_S: Final = 0.003
"""Cost of a step batch and of each of its rows in seconds: those of a small network on two cores."""
STEPS: Final = 4
"""Steps of a queued request."""


class SimulatedEngine:
    """A `serving.sampling.runner.BatchTransport` that takes a known time per step batch and computes nothing.

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

    def inputs(self, rows: int) -> Tensors:
        """Input arrays in this process."""
        return denoiser_inputs(SPEC, rows)

    async def evaluate(self, inputs: Tensors, rows: int, deadline: float | None) -> NDArray[np.float32]:
        """Half of x, after the cost of the batch; batches wait for each other as for a processor."""
        async with self._turn:
            cost, began = self.cost(rows), time.perf_counter()
            await asyncio.sleep(cost)
            self.late_s += time.perf_counter() - began - cost
        self.rows += rows
        return np.float32(0.5) * inputs["x"][:rows]

    async def close(self) -> None:
        """Nothing to release."""

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
        yield from asyncio.run(_rate(rows, settings.wave_rows, seconds))
    for count in queued:
        say(f"{count} requests queued")
        yield from asyncio.run(_queue(count, settings.sampler_concurrency, settings.wave_rows))


async def _rate(rows: int, wave_rows: int, seconds: float) -> list[Row]:
    """Rows per second with a constant number of rows in flight."""
    engine = SimulatedEngine(BATCH_S, ROW_S)
    ideal = engine.best_rate(min(rows, wave_rows))
    steps = min(max(round(seconds * ideal / rows), 4), SPEC.num_train_timesteps)
    runner = StepBatchRunner(engine, SPEC, BatchOptions(rows=wave_rows))
    trajectories = [_trajectory(seed, steps) for seed in range(rows // 2)]
    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(runner.run(trajectory) for trajectory in trajectories))
    took, spent = time.perf_counter() - began - engine.late_s, time.process_time() - cpu
    await runner.close()
    return [
        Row(f"rows/{rows}", "rows_per_s", engine.rows / took, "rows/s"),
        Row(f"rows/{rows}", "fraction_of_ideal", engine.rows / took / ideal, ""),
        Row(f"rows/{rows}", "cpu_ms_per_row", 1e3 * spent / engine.rows, "ms"),
    ]


async def _queue(count: int, at_a_time: int, wave_rows: int) -> list[Row]:
    """Cost per request if many wait for their turn as in `serving.ray.replicas.SamplerReplica`."""
    engine = SimulatedEngine(BATCH_S / 100, ROW_S / 100)
    runner, turns = StepBatchRunner(engine, SPEC, BatchOptions(rows=wave_rows)), asyncio.Semaphore(at_a_time)
    most = anonymous_mib()

    async def one(seed: int) -> None:
        nonlocal most
        async with turns:
            await runner.run(_trajectory(seed, STEPS))
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


def _trajectory(seed: int, steps: int) -> Trajectory:
    """One window with guidance: a conditional and an unconditional row at every step."""
    shapes = SPEC.denoiser_inputs()
    context = {name: np.zeros((2, *shapes[name]), np.float32) for name in SPEC.conditioner_outputs()}
    timelines = {name: np.zeros(shapes[name], np.float32) for name in TIMELINES}
    plan = Plan(method=sampler("ddim"), num_steps=steps, guidance_scale=2.5, seed=seed)
    return Trajectory(SPEC, plan, [0], context, timelines)


if __name__ == "__main__":
    sys.exit(main())
