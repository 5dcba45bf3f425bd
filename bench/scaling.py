"""StepBatchRunner without servers: what `serving.sampling.runner` itself costs, over an engine of known speed.

The engine is simulated: it takes a known time per wave and per row, one wave after the other, so that whatever is
missing from the ideal rate is the waves' own. `rows/N` keeps N rows in flight; `queued/N` lets N requests wait, as many
of them denoised at a time as a sampler replica takes, and says what each costs this process in processor time and what
all of them take in memory.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench.report import Row, anonymous_mib, say, show
from choreo.diffusion.samplers import sampler
from choreo.diffusion.trajectory import TIMELINES, Plan, Trajectory
from choreo.errors import InvalidInput
from choreo.generators.spec import ModelSpec
from serving.engines.tensors import Tensors
from serving.sampling.runner import BatchOptions, StepBatchRunner
from serving.sampling.step_buffer import denoiser_inputs
from serving.settings import Settings

SPEC: Final = ModelSpec(name="simulated", context_dim=128, mean=(0.0,) * 66, std=(1.0,) * 66)
WAVE_S: Final = 0.002
ROW_S: Final = 0.003
"""Cost of a wave and of each of its rows, seconds: those of a small network on two cores."""
IN_FLIGHT: Final = (2, 8, 32, 64, 128, 256)
QUEUED: Final = (10, 100, 1000, 10_000)
STEPS: Final = 4
"""Of a request that is queued."""


class SimulatedEngine:
    """Takes a known time for a wave, without computing anything; see `serving.sampling.runner.BatchTransport`.

    Args:
        wave_s, row_s: cost of a wave and of each row in it, seconds.

    Attributes:
        rows: evaluated so far.
        late_s: by how much the clock of the event loop overslept, which is not the waves' doing.
    """

    def __init__(self, wave_s: float, row_s: float) -> None:
        self._wave_s, self._row_s = wave_s, row_s
        self._turn = asyncio.Lock()
        self.rows = 0
        self.late_s = 0.0

    def inputs(self, rows: int) -> Tensors:
        """Arrays of this process."""
        return denoiser_inputs(SPEC, rows)

    async def evaluate(self, inputs: Tensors, rows: int, deadline: float | None) -> NDArray[np.float32]:
        """Half of x, after the time that the wave costs; waves wait for each other as they do for a processor."""
        async with self._turn:
            cost, began = self.cost(rows), time.perf_counter()
            await asyncio.sleep(cost)
            self.late_s += time.perf_counter() - began - cost
        self.rows += rows
        return np.float32(0.5) * inputs["x"][:rows]

    async def close(self) -> None:
        """Nothing to give back."""

    def cost(self, rows: int) -> float:
        """Seconds of a wave."""
        return self._wave_s + self._row_s * rows

    def best_rate(self, rows: int) -> float:
        """Rows per second where waves of so many rows follow each other without a pause."""
        return rows / self.cost(rows)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; 2 on bad input."""
    given = sys.argv[1:] if argv is None else list(argv)
    parser = argparse.ArgumentParser(prog="choreo bench scaling", description=__doc__.partition("\n")[0])
    parser.add_argument("--in-flight", default=",".join(map(str, IN_FLIGHT)), help="even numbers of rows, with commas")
    parser.add_argument("--queued", default=",".join(map(str, QUEUED)), help="numbers of requests, with commas")
    parser.add_argument("--seconds", type=float, default=5.0, help="of engine time for each number of rows")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    args = parser.parse_args(given)
    try:
        in_flight, queued = _numbers("in-flight", args.in_flight, 4096), _numbers("queued", args.queued, 1_000_000)
        if any(rows % 2 for rows in in_flight):
            raise InvalidInput("in-flight", f"must be even: requests have two rows each, got {args.in_flight}")
        if not 0 < args.seconds <= 600:
            raise InvalidInput("seconds", f"must be above 0 and at most 600, got {args.seconds}")
    except InvalidInput as error:
        say(f"choreo: {error}")
        return 2
    show("scaling", given, _rows(in_flight, queued, args.seconds), args.json)
    return 0


def _rows(in_flight: Sequence[int], queued: Sequence[int], seconds: float) -> Iterator[Row]:
    settings = Settings()
    for rows in in_flight:
        say(f"{rows} rows in flight")
        yield from asyncio.run(_rate(rows, settings.wave_rows, seconds))
    for count in queued:
        say(f"{count} requests queued")
        yield from asyncio.run(_queue(count, settings.sampler_concurrency, settings.wave_rows))


async def _rate(rows: int, wave_rows: int, seconds: float) -> list[Row]:
    """Rows per second with so many in flight from the first wave to the last."""
    engine = SimulatedEngine(WAVE_S, ROW_S)
    ideal = engine.best_rate(min(rows, wave_rows))
    steps = min(max(round(seconds * ideal / rows), 4), SPEC.num_train_timesteps)
    waves = StepBatchRunner(engine, SPEC, BatchOptions(rows=wave_rows))
    trajectories = [_trajectory(seed, steps) for seed in range(rows // 2)]
    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(waves.run(trajectory) for trajectory in trajectories))
    took, spent = time.perf_counter() - began - engine.late_s, time.process_time() - cpu
    await waves.close()
    return [
        Row(f"rows/{rows}", "rows_per_s", engine.rows / took, "rows/s"),
        Row(f"rows/{rows}", "fraction_of_ideal", engine.rows / took / ideal, ""),
        Row(f"rows/{rows}", "cpu_ms_per_row", 1e3 * spent / engine.rows, "ms"),
    ]


async def _queue(count: int, at_a_time: int, wave_rows: int) -> list[Row]:
    """Cost of each of many requests that wait for their turn as in `serving.ray.replicas.SamplerReplica`."""
    engine = SimulatedEngine(WAVE_S / 100, ROW_S / 100)
    waves, turns = StepBatchRunner(engine, SPEC, BatchOptions(rows=wave_rows)), asyncio.Semaphore(at_a_time)
    most = anonymous_mib()

    async def one(seed: int) -> None:
        nonlocal most
        async with turns:
            await waves.run(_trajectory(seed, STEPS))
        if seed % max(count // 20, 1) == 0:
            most = max(most, anonymous_mib())

    cpu = time.process_time()
    await asyncio.gather(*(one(seed) for seed in range(count)))
    spent = time.process_time() - cpu
    await waves.close()
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


def _numbers(name: str, text: str, most: int) -> list[int]:
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError as error:
        raise InvalidInput(name, f"must be whole numbers between commas, got {text[:64]!r}") from error
    if not all(1 <= number <= most for number in numbers):
        raise InvalidInput(name, f"must be between 1 and {most} each, got {text[:64]!r}")
    return numbers


if __name__ == "__main__":
    sys.exit(main())
