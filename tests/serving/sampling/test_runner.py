"""StepBatchRunner on a fake transport whose graphs are known functions of each row alone.

What the choice of rows is by itself is tested in test_scheduler.py; here is what needs an event loop.
"""

import asyncio
import itertools
import tracemalloc
from typing import Any

import numpy as np
import pytest
from fake_step_engine import (
    DENOISER,
    OTHER,
    SPEC,
    FakeEngine,
    alone,
    conditioned,
    denoised,
    rows_of,
    runner,
    together,
    trajectory,
)

from choreo.diffusion.samplers import SAMPLERS, sampler
from choreo.diffusion.trajectory import ReverseProcess
from choreo.generators.base import Conditioning, GenerationRequest, Tensors, run, zeros
from choreo.generators.registry import generator
from choreo.generators.spec import GeneratorSpec
from serving.pipeline.results import StepCounts
from serving.sampling.runner import executor
from serving.sampling.step_buffer import StepBuffer
from serving.settings import Settings


def mixture() -> list[ReverseProcess]:
    """Samplers, lengths, numbers of steps, scales and intervals of all kinds."""
    kinds = itertools.product(SAMPLERS, (196, 196, 500), (1, 4), (1.0, 2.5))
    return [
        trajectory(
            frames, sampler=sampler(name), num_steps=steps + i % 3, guidance_scale=scale, seed=i, name=i / 10,
            guidance_interval=(0.2, 0.8) if i % 4 == 0 else (0.0, 1.0),
        )
        for i, (name, frames, steps, scale) in enumerate(kinds)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "instances", "queued"), [(1, 1, 0), (3, 1, 0), (8, 1, 1), (64, 1, 1), (32, 2, 1), (32, 4, 1)]
)
def test_a_motion_does_not_depend_on_who_shares_its_batches(rows: int, instances: int, queued: int) -> None:
    shared = mixture()
    engine = FakeEngine(instances=instances)
    assert together(shared, engine, rows=rows, queued=queued) == [None] * len(shared)
    for one, single in zip(shared, mixture(), strict=True):
        np.testing.assert_allclose(one.x, alone(single), atol=1e-5)
        assert one.evaluated == single.evaluated
    assert max(engine.sizes) <= min(rows, DENOISER.max_rows)
    assert sum(engine.sizes) == sum(rows_of(one) for one in shared)
    assert engine.most_at_once == instances + queued


def test_a_request_goes_through_all_graphs_of_its_generator() -> None:
    """Conditioner and denoiser of two generators, on one runner, against calls of each request's own."""

    def begun(spec: GeneratorSpec, seed: int) -> Any:
        text = np.full(384, seed, np.float32)
        return generator(spec).begin(GenerationRequest(num_steps=3, seed=seed), Conditioning(300, text=text))

    wanted = [(spec, seed) for spec in (SPEC, OTHER) for seed in range(3)]
    shared = [begun(spec, seed) for spec, seed in wanted]
    engine = FakeEngine()

    async def everything() -> None:
        batches = runner(engine)
        await asyncio.gather(*(batches.run(t, spec) for t, (spec, _) in zip(shared, wanted, strict=True)))

    asyncio.run(everything())
    for one, (spec, seed) in zip(shared, wanted, strict=True):
        single = begun(spec, seed)
        run(
            [single],
            lambda graph, inputs: (denoised if graph == "denoiser" else conditioned)(
                inputs, len(next(iter(inputs.values())))
            ),
            lambda graph, rows: zeros(SPEC.graph(graph), rows),
        )
        np.testing.assert_allclose(one.result(), single.result(), atol=1e-5)
        assert one.evaluated == single.evaluated
    assert set(engine.keys) == {spec.key(graph.name) for spec in (SPEC, OTHER) for graph in spec.graphs}


def test_requests_of_different_steps_share_batches() -> None:
    some = [trajectory(num_steps=steps, seed=steps) for steps in (3, 10, 20)]
    engine = FakeEngine()
    together(some, engine, rows=64, queued=0)
    assert engine.sizes == [6] * 3 + [4] * 7 + [2] * 10


@pytest.mark.parametrize(
    ("frames", "instances", "sizes"),
    [(196, 1, [2]), (196, 2, [1, 1]), (196, 4, [1, 1]), (300, 2, [2, 2]), (980, 2, [7, 7])],
)
def test_a_lone_request_gives_every_instance_something(frames: int, instances: int, sizes: list[int]) -> None:
    engine = FakeEngine(instances=instances)
    together([trajectory(frames, num_steps=3)], engine, rows=32, min_fill=32)
    assert engine.sizes == sizes * 3


def test_the_batches_of_a_long_song_are_alike_and_as_many_for_every_instance() -> None:
    engine = FakeEngine(instances=2)
    together([trajectory(196 + 132 * 54, num_steps=3)], engine, rows=32)
    assert sorted(engine.sizes) == sorted([28, 28, 28, 26] * 3)
    engine = FakeEngine(instances=4)
    together([trajectory(196 + 132 * 39, num_steps=2)], engine, rows=16)
    assert engine.sizes == [10] * 8 * 2


def test_many_requests_keep_their_rows_together() -> None:
    engine = FakeEngine(instances=2)
    together([trajectory(num_steps=3, seed=seed) for seed in range(9)], engine, rows=32)
    assert all(size % 2 == 0 for size in engine.sizes)
    assert len(engine.sizes) <= 12


def test_step_batches_are_counted_once() -> None:
    """Rows and room of all batches, those of other requests among them; each is told of to one asker."""

    async def everything() -> None:
        engine = FakeEngine()
        running = runner(engine, rows=8)
        await asyncio.gather(*(running.run(trajectory(), SPEC) for _ in range(3)))
        counts = running.take_counts()
        assert counts == StepCounts(len(engine.sizes), sum(engine.sizes), 8 * len(engine.sizes))
        assert counts.rows > 0
        assert running.take_counts() == StepCounts()
        await running.close()

    asyncio.run(everything())


def test_steps_after_the_first_write_only_what_has_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A runner takes the buffer that has the rows already."""
    buffers: list[StepBuffer] = []

    class FakeBuffer(StepBuffer):
        def __init__(self, inputs: Tensors) -> None:
            super().__init__(inputs)
            buffers.append(self)

    monkeypatch.setattr("serving.sampling.runner.StepBuffer", FakeBuffer)
    some = [trajectory(num_steps=20, seed=seed) for seed in range(3)]
    together(some, FakeEngine(), rows=32, queued=0)
    assert sum(buffer.written for buffer in buffers) == 6


def test_outside_the_interval_there_is_nothing_to_guide() -> None:
    one = trajectory(num_steps=10, guidance_interval=(0.25, 0.75))
    together([one], FakeEngine(), rows=8)
    assert rows_of(one) == 10 + 5


def test_a_short_request_does_not_wait_for_a_long_one() -> None:
    song, short = trajectory(196 + 132 * 99, num_steps=4, seed=1), trajectory(num_steps=4, seed=2)
    engine = FakeEngine()
    order: list[str] = []

    async def join_late() -> None:
        batches = runner(engine, rows=16, queued=0)
        long = asyncio.create_task(batches.run(song, SPEC))
        long.add_done_callback(lambda _: order.append("song"))
        while len(engine.sizes) < 3:
            await asyncio.sleep(0)
        before = len(engine.sizes)
        await batches.run(short, SPEC)
        order.append(f"short after {len(engine.sizes) - before}")
        await long

    asyncio.run(join_late())
    assert order[0].startswith("short")
    assert int(order[0].split()[-1]) < 15 < len(engine.sizes)


def test_one_that_has_just_ended_is_no_row_of_the_next_batch() -> None:
    """Two batches end at once: when the next one is composed, who waits for the first has not been woken yet."""
    gate: list[asyncio.Future[None]] = []

    async def in_pairs(number: int, inputs: Tensors, out: Tensors) -> Tensors:
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
    assert together(some, FakeEngine(in_pairs), rows=4, min_fill=1) == [None] * 6
    assert [one.rows for one in some] == [0] * 6


def test_an_hour_needs_the_memory_of_its_timeline() -> None:
    """818 windows at every step, of which no more than a batch exist as rows at a time."""
    hour = trajectory(3600 * 30, num_steps=2, sampler=sampler("dpm++2m"))
    timeline = hour.x.nbytes
    engine = FakeEngine()
    tracemalloc.start()
    try:
        assert together([hour], engine, rows=32) == [None]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert rows_of(hour) == 2 * 2 * len(hour.starts) == sum(engine.sizes)
    assert max(engine.sizes) == 32
    assert peak < 8 * timeline


def test_bulk_goes_on_while_interactive_requests_keep_coming() -> None:
    bulk = trajectory(num_steps=10, weight=0.25)
    engine = FakeEngine()

    async def compete() -> int:
        batches = runner(engine, rows=4, queued=0)
        slow = asyncio.create_task(batches.run(bulk, SPEC))
        served = 0

        async def keep_asking() -> None:
            nonlocal served
            while not slow.done():
                await batches.run(trajectory(num_steps=2, weight=1.0), SPEC)
                served += 1

        await asyncio.gather(*(keep_asking() for _ in range(3)))
        await slow
        return served

    served = asyncio.run(compete())
    assert bulk.done
    assert 10 < served < 200


def test_separate_requests_have_calls_of_their_own() -> None:
    some = [trajectory(300, num_steps=3, seed=seed) for seed in range(3)]
    engine: Any = FakeEngine()

    async def everything() -> None:
        separate = executor(Settings(executor="requests"))(engine)
        await asyncio.gather(*(separate.run(t, SPEC) for t in some))
        await separate.release("fake")
        await separate.close()

    asyncio.run(everything())
    assert engine.sizes == [4] * 9
    for seed, one in enumerate(some):
        np.testing.assert_allclose(one.x, alone(trajectory(300, num_steps=3, seed=seed)), atol=1e-5)
