"""StepBatchRunner on a fake engine whose denoiser is a known function of each row alone."""

import asyncio
import itertools
import time
import tracemalloc
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from choreo.diffusion.samplers import SAMPLERS, sampler
from choreo.diffusion.trajectory import OVERLAP, Plan, Trajectory
from choreo.diffusion.windows import timeline_length, window_starts
from choreo.errors import BackendUnavailable, DeadlineExceeded, NonFiniteOutput
from choreo.generators.spec import ModelSpec
from serving.engines.tensors import Tensors
from serving.sampling.runner import BatchOptions, StepBatchRunner
from serving.sampling.step_buffer import StepBuffer, denoiser_inputs

SPEC = ModelSpec(name="fake", context_dim=2, context_tokens=3, mean=(0.0,) * 66, std=(1.0,) * 66)


def denoised(inputs: Tensors, rows: int) -> NDArray[np.float32]:
    """x0 = x / 4 + prior's mask + context: different for every row, and for conditional and unconditional ones."""
    out = 0.25 * inputs["x"][:rows] + inputs["prior"][:rows, :, -1:] + inputs["context"][:rows, :1, :1]
    return (out + 1e-4 * inputs["t"][:rows, None]).astype(np.float32)


class FakeWaveEngine:
    """Keeps the sizes of waves; `fault` may raise, wait or change what comes out."""

    def __init__(self, fault: Callable[[int, Tensors, NDArray[Any]], Awaitable[NDArray[Any]]] | None = None) -> None:
        self.sizes: list[int] = []
        self.running = self.most_at_once = 0
        self.fault = fault

    def inputs(self, rows: int) -> Tensors:
        return denoiser_inputs(SPEC, rows)

    async def close(self) -> None:
        self.closed = True

    async def evaluate(self, inputs: Tensors, rows: int, deadline: float | None) -> NDArray[np.float32]:
        number = len(self.sizes)
        self.sizes.append(rows)
        self.running += 1
        self.most_at_once = max(self.most_at_once, self.running)
        try:
            await asyncio.sleep(0)
            out = denoised(inputs, rows)
            return out if self.fault is None else await self.fault(number, inputs, out)
        finally:
            self.running -= 1


def trajectory(frames: int = 196, **changes: Any) -> Trajectory:
    plan = {"method": sampler("ddim"), "num_steps": 5, "guidance_scale": 2.5} | changes
    name = plan.pop("name", 0.0)
    starts = window_starts(frames, SPEC.window, OVERLAP)
    length = timeline_length(starts, SPEC.window)
    rows = len(starts) + 1
    context = np.tile(np.linspace(0, 1, rows, dtype=np.float32)[:, None, None] + np.float32(name), (1, 3, 2))
    mask = np.ones((rows, 3), np.float32)
    widths = {"prior": 67, "rhythm": 4, "known": 66, "known_mask": 66}
    timelines = {name: np.zeros((length, width), np.float32) for name, width in widths.items()}
    timelines["prior"][:, -1] = np.sin(np.arange(length) / 50)
    return Trajectory(SPEC, Plan(**plan), starts, {"context": context, "context_mask": mask}, timelines)


def alone(some: Trajectory) -> NDArray[np.float32]:
    """What comes of a trajectory when every row is evaluated by itself."""
    buffer = StepBuffer(denoiser_inputs(SPEC, 1))
    while not some.done:
        for row in range(some.rows):
            buffer.load([(some, row)])
            some.add(row, denoised(buffer.inputs, 1)[0])
        some.advance()
    return some.x


def together(some: Sequence[Trajectory], engine: FakeWaveEngine, **options: int) -> list[Any]:
    async def run() -> list[Any]:
        waves = StepBatchRunner(engine, SPEC, BatchOptions(**options))
        return await asyncio.gather(*(waves.run(t) for t in some), return_exceptions=True)

    return asyncio.run(run())


def mixture() -> list[Trajectory]:
    """Samplers, lengths, numbers of steps, scales and intervals of all kinds."""
    kinds = itertools.product(SAMPLERS, (196, 196, 500), (1, 4), (1.0, 2.5))
    return [
        trajectory(
            frames, method=sampler(name), num_steps=steps + i % 3, guidance_scale=scale, seed=i, name=i / 10,
            guidance_interval=(0.2, 0.8) if i % 4 == 0 else (0.0, 1.0),
        )
        for i, (name, frames, steps, scale) in enumerate(kinds)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "instances", "queued"), [(1, 1, 0), (3, 1, 0), (8, 1, 1), (64, 1, 1), (32, 2, 1), (32, 4, 1)]
)
def test_a_motion_does_not_depend_on_who_shares_its_waves(rows: int, instances: int, queued: int) -> None:
    shared = mixture()
    engine = FakeWaveEngine()
    assert together(shared, engine, rows=rows, instances=instances, queued=queued) == [None] * len(shared)
    for one, single in zip(shared, mixture(), strict=True):
        np.testing.assert_allclose(one.x, alone(single), atol=1e-5)
        assert one.evaluated == single.evaluated
    assert max(engine.sizes) <= rows
    assert sum(engine.sizes) == sum(one.evaluated for one in shared)
    assert engine.most_at_once == instances + queued


def test_requests_of_different_steps_share_waves() -> None:
    some = [trajectory(num_steps=steps, seed=steps) for steps in (3, 10, 20)]
    engine = FakeWaveEngine()
    together(some, engine, rows=64, queued=0)
    assert engine.sizes == [6] * 3 + [4] * 7 + [2] * 10


@pytest.mark.parametrize(
    ("frames", "instances", "rows"), [(196, 1, [2]), (196, 2, [2]), (196, 4, [2]), (300, 2, [2, 2]), (980, 2, [7, 7])]
)
def test_a_lone_request_of_several_windows_gives_every_instance_something(
    frames: int, instances: int, rows: list[int]
) -> None:
    engine = FakeWaveEngine()
    together([trajectory(frames, num_steps=3)], engine, rows=32, instances=instances, worthwhile=32)
    assert engine.sizes == rows * 3


def test_the_waves_of_a_long_song_are_alike_and_as_many_for_every_instance() -> None:
    engine = FakeWaveEngine()
    together([trajectory(196 + 132 * 54, num_steps=3)], engine, rows=32, instances=2)
    assert sorted(engine.sizes) == sorted([28, 28, 28, 26] * 3)
    engine = FakeWaveEngine()
    together([trajectory(196 + 132 * 39, num_steps=2)], engine, rows=16, instances=4)
    assert engine.sizes == [10] * 8 * 2


def test_many_requests_keep_their_rows_together() -> None:
    engine = FakeWaveEngine()
    together([trajectory(num_steps=3, seed=seed) for seed in range(9)], engine, rows=32, instances=2)
    assert all(size % 2 == 0 for size in engine.sizes)
    assert len(engine.sizes) <= 12


def test_what_does_not_change_is_written_once() -> None:
    buffer = StepBuffer(denoiser_inputs(SPEC, 8))
    first, second = trajectory(seed=1), trajectory(seed=2)
    for _ in range(3):
        buffer.load([(first, 0), (first, 1), (second, 0), (second, 1)])
    assert buffer.written == 4
    seats = buffer.load([(second, 0), (second, 1)])
    assert buffer.written == 6  # they had to move to the front
    assert [row for _, row in seats] == [0, 1]


def test_unconditional_rows_see_neither_prior_nor_rhythm() -> None:
    buffer = StepBuffer(denoiser_inputs(SPEC, 2))
    one = trajectory()
    one.timelines["known"][:] = 3
    buffer.load([(one, 0), (one, 1)])
    assert buffer.inputs["prior"][0].any()
    assert not buffer.inputs["prior"][1].any()
    assert (buffer.inputs["known"] == 3).all()
    np.testing.assert_array_equal(buffer.inputs["context"][1], one.context["context"][-1])


def test_outside_the_interval_there_is_nothing_to_guide() -> None:
    one = trajectory(num_steps=10, guidance_interval=(0.25, 0.75))
    together([one], FakeWaveEngine(), rows=8)
    assert one.evaluated == 10 + 5


def test_a_short_request_does_not_wait_for_a_long_one() -> None:
    song, short = trajectory(196 + 132 * 99, num_steps=4, seed=1), trajectory(num_steps=4, seed=2)
    engine = FakeWaveEngine()
    order: list[str] = []

    async def run() -> None:
        waves = StepBatchRunner(engine, SPEC, BatchOptions(rows=16, queued=0))
        long = asyncio.create_task(waves.run(song))
        long.add_done_callback(lambda _: order.append("song"))
        while len(engine.sizes) < 3:
            await asyncio.sleep(0)
        before = len(engine.sizes)
        await waves.run(short)
        order.append(f"short after {len(engine.sizes) - before}")
        await long

    asyncio.run(run())
    assert order[0].startswith("short")
    assert int(order[0].split()[-1]) < 15 < len(engine.sizes)


def test_one_that_has_just_ended_is_no_row_of_the_next_wave() -> None:
    """Two waves end at once: when the next one is composed, who waits for the first has not been woken yet."""
    gate: list[asyncio.Future[None]] = []

    async def in_pairs(number: int, inputs: Tensors, out: NDArray[Any]) -> NDArray[Any]:
        gate.append(asyncio.get_running_loop().create_future())
        if len(gate) == 2:
            for future in gate:
                future.set_result(None)
            mine = gate.pop()
            gate.clear()
            await mine
        else:
            await asyncio.wait([gate[-1]], timeout=0.05)
        return out

    some = [trajectory(num_steps=steps, seed=steps) for steps in (1, 2, 3, 4, 5, 6)]
    assert together(some, FakeWaveEngine(in_pairs), rows=4, worthwhile=1) == [None] * 6
    assert [one.rows for one in some] == [0] * 6


def test_an_hour_needs_the_memory_of_its_timeline() -> None:
    """818 windows at every step, of which no more than a wave exist as rows at a time."""
    hour = trajectory(3600 * 30, num_steps=2, method=sampler("dpm++2m"))
    timeline = hour.x.nbytes
    engine = FakeWaveEngine()
    tracemalloc.start()
    try:
        assert together([hour], engine, rows=32) == [None]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert hour.evaluated == 2 * 2 * len(hour.starts) == sum(engine.sizes)
    assert max(engine.sizes) == 32
    assert peak < 8 * timeline


def test_bulk_goes_on_while_interactive_requests_keep_coming() -> None:
    bulk = trajectory(num_steps=10, weight=0.25)
    engine = FakeWaveEngine()

    async def run() -> int:
        waves = StepBatchRunner(engine, SPEC, BatchOptions(rows=4, queued=0))
        slow = asyncio.create_task(waves.run(bulk))
        served = 0

        async def keep_asking() -> None:
            nonlocal served
            while not slow.done():
                await waves.run(trajectory(num_steps=2, weight=1.0))
                served += 1

        await asyncio.gather(*(keep_asking() for _ in range(3)))
        await slow
        return served

    served = asyncio.run(run())
    assert bulk.done
    assert 10 < served < 200


def test_a_cancelled_request_leaves_with_its_wave() -> None:
    async def run() -> tuple[list[int], StepBatchRunner]:
        engine = FakeWaveEngine()
        waves = StepBatchRunner(engine, SPEC, BatchOptions(rows=64, queued=0))
        kept = asyncio.create_task(waves.run(trajectory(num_steps=20)))
        gone = asyncio.create_task(waves.run(trajectory(1000, num_steps=20)))
        while len(engine.sizes) < 3:
            await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        seen = len(engine.sizes)
        await kept
        return engine.sizes[seen + 1 :], waves

    later, waves = asyncio.run(run())
    assert set(later) == {2}
    assert waves.rows_in_flight == 0


def test_nan_fails_the_rows_that_it_came_from_and_no_others() -> None:
    async def broken(number: int, inputs: Tensors, out: NDArray[Any]) -> NDArray[Any]:
        if (inputs["context"][: len(out)] > 50).any():
            raise NonFiniteOutput("NaN in 'x0'")
        return out

    good, bad = trajectory(seed=1), trajectory(seed=2, name=60.0)
    results = together([good, bad, trajectory(seed=3)], FakeWaveEngine(broken), rows=16)
    assert [type(r) for r in results] == [type(None), NonFiniteOutput, type(None)]
    np.testing.assert_allclose(good.x, alone(trajectory(seed=1)), atol=1e-5)


def test_a_failed_wave_is_evaluated_once_more() -> None:
    async def once(number: int, inputs: Tensors, out: NDArray[Any]) -> NDArray[Any]:
        if number == 2:
            raise BackendUnavailable("Triton has died")
        return out

    some = [trajectory(500, seed=1), trajectory(seed=2)]
    assert together(some, FakeWaveEngine(once), rows=4) == [None, None]
    np.testing.assert_allclose(some[0].x, alone(trajectory(500, seed=1)), atol=1e-5)


def test_a_request_whose_waves_keep_failing_fails() -> None:
    async def always(number: int, inputs: Tensors, out: NDArray[Any]) -> NDArray[Any]:
        raise BackendUnavailable("Triton has died")

    engine = FakeWaveEngine(always)
    (result,) = together([trajectory()], engine, rows=4)
    assert isinstance(result, BackendUnavailable)
    assert len(engine.sizes) == 2


def test_a_deadline_ends_one_request_and_not_its_neighbours() -> None:
    async def slow(number: int, inputs: Tensors, out: NDArray[Any]) -> NDArray[Any]:
        await asyncio.sleep(0.05)
        return out

    late = trajectory(num_steps=200, deadline=time.monotonic() + 1.5)
    results = together([late, trajectory(num_steps=60)], FakeWaveEngine(slow), rows=8)
    assert isinstance(results[0], DeadlineExceeded)
    assert results[1] is None
    assert 0 < late.index < 200


def test_waves_can_be_used_on_one_event_loop_after_another() -> None:
    waves = StepBatchRunner(FakeWaveEngine(), SPEC, BatchOptions())
    for seed in range(2):
        asyncio.run(waves.run(trajectory(seed=seed)))


def test_closing_fails_what_is_in_flight() -> None:
    async def run() -> Any:
        waves = StepBatchRunner(FakeWaveEngine(), SPEC, BatchOptions())
        running = asyncio.create_task(waves.run(trajectory(num_steps=500)))
        await asyncio.sleep(0)
        await waves.close()
        return (await asyncio.gather(running, return_exceptions=True))[0]

    assert isinstance(asyncio.run(run()), BackendUnavailable)
