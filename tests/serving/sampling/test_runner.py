"""StepBatchRunner on a fake transport whose graphs are known functions of each row alone.

What the choice of rows is by itself is tested in test_scheduler.py; here is what needs an event loop.
"""

import asyncio
import itertools
import time
import tracemalloc
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import numpy as np
import pytest
from recorded_spans import id_of, parent_of, recorded_spans

from choreo.diffusion.samplers import SAMPLERS, sampler
from choreo.diffusion.trajectory import OVERLAP, Plan, ReverseProcess
from choreo.diffusion.windows import timeline_length, window_starts
from choreo.errors import BackendUnavailable, DeadlineExceeded, InvalidArtifact, NonFiniteOutput
from choreo.generators.base import Conditioning, GenerationRequest, Tensors, run, zeros
from choreo.generators.registry import generator
from choreo.generators.spec import GeneratorSpec, GraphSpec
from choreo.generators.unet.graphs import unet_spec
from serving.pipeline.results import StepCounts
from serving.sampling.runner import BatchOptions, SeparateRequests, StepBatchRunner, executor
from serving.sampling.step_buffer import StepBuffer
from serving.settings import Settings
from serving.util import logs, tracing

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


def test_what_does_not_change_is_written_once() -> None:
    buffer = StepBuffer(zeros(DENOISER, 8))
    first, second = trajectory(seed=1), trajectory(seed=2)
    for _ in range(3):
        buffer.load([(first, 0), (first, 1), (second, 0), (second, 1)])
    assert buffer.written == 4
    entries = buffer.load([(second, 0), (second, 1)])
    assert buffer.written == 6  # they had to move to the front
    assert [row for _, row in entries] == [0, 1]


def test_a_row_that_moves_up_is_written_where_it_is_now() -> None:
    """Rows leave, come and change places; the inputs are those of the rows that are said to be there."""
    buffer, plain = StepBuffer(zeros(DENOISER, 6)), StepBuffer(zeros(DENOISER, 1))
    some = [trajectory(300, seed=seed, name=float(seed)) for seed in range(3)]
    rng = np.random.default_rng(0)
    every = [(one, row) for one in some for row in range(one.rows)]
    for _ in range(50):
        wanted = [every[i] for i in rng.permutation(len(every))[: rng.integers(1, 7)]]
        entries = buffer.load(wanted)
        assert {(id(one), row) for one, row in entries} == {(id(one), row) for one, row in wanted}
        for at, entry in enumerate(entries):
            plain.forget(entry[0])
            plain.load([entry])
            for name, values in plain.inputs.items():
                np.testing.assert_array_equal(buffer.inputs[name][at], values[0])


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


def test_unconditional_rows_see_neither_prior_nor_rhythm() -> None:
    buffer = StepBuffer(zeros(DENOISER, 2))
    one = trajectory()
    one.timelines["known"][:] = 3
    buffer.load([(one, 0), (one, 1)])
    assert buffer.inputs["prior"][0].any()
    assert not buffer.inputs["prior"][1].any()
    assert (buffer.inputs["known"] == 3).all()
    np.testing.assert_array_equal(buffer.inputs["context"][1], one.encoded["context"][-1])


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


def test_a_cancelled_request_leaves_with_its_batch() -> None:
    async def leave() -> tuple[list[int], StepBatchRunner]:
        engine = FakeEngine()
        batches = runner(engine, rows=64, queued=0)
        kept = asyncio.create_task(batches.run(trajectory(num_steps=20), SPEC))
        gone = asyncio.create_task(batches.run(trajectory(1000, num_steps=20), SPEC))
        while len(engine.sizes) < 3:
            await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        seen = len(engine.sizes)
        await kept
        return engine.sizes[seen + 1 :], batches

    later, batches = asyncio.run(leave())
    assert set(later) == {2}
    assert batches.scheduler.requests == []
    assert batches.scheduler.rows_under_way("fake.denoiser") == 0


def test_what_a_cancelled_request_had_in_a_batch_changes_nobodys_motion() -> None:
    async def leave() -> ReverseProcess:
        engine = FakeEngine()
        batches = runner(engine, rows=8, queued=1, min_fill=1)
        kept = trajectory(500, num_steps=10, seed=1)
        running = asyncio.create_task(batches.run(kept, SPEC))
        for seed in range(2, 12):
            gone = asyncio.create_task(batches.run(trajectory(500, num_steps=10, seed=seed), SPEC))
            seen = len(engine.sizes)
            while len(engine.sizes) < seen + 2 and not running.done():
                await asyncio.sleep(0)
            gone.cancel()
        await running
        return kept

    np.testing.assert_allclose(asyncio.run(leave()).x, alone(trajectory(500, num_steps=10, seed=1)), atol=1e-5)


def test_nan_fails_the_rows_that_it_came_from_and_no_others() -> None:
    async def broken(number: int, inputs: Tensors, out: Tensors) -> Tensors:
        if (inputs["context"][: len(out["x0"])] > 50).any():
            raise NonFiniteOutput("NaN in 'x0'")
        return out

    good, bad = trajectory(seed=1), trajectory(seed=2, name=60.0)
    results = together([good, bad, trajectory(seed=3)], FakeEngine(broken), rows=16)
    assert [type(r) for r in results] == [type(None), NonFiniteOutput, type(None)]
    np.testing.assert_allclose(good.x, alone(trajectory(seed=1)), atol=1e-5)


def test_a_failed_batch_is_evaluated_once_more() -> None:
    async def once(number: int, inputs: Tensors, out: Tensors) -> Tensors:
        if number == 2:
            raise BackendUnavailable("Triton has died")
        return out

    some = [trajectory(500, seed=1), trajectory(seed=2)]
    assert together(some, FakeEngine(once), rows=4) == [None, None]
    np.testing.assert_allclose(some[0].x, alone(trajectory(500, seed=1)), atol=1e-5)


def test_a_request_whose_batches_keep_failing_fails() -> None:
    async def always(number: int, inputs: Tensors, out: Tensors) -> Tensors:
        raise BackendUnavailable("Triton has died")

    engine = FakeEngine(always)
    (result,) = together([trajectory()], engine, rows=4)
    assert isinstance(result, BackendUnavailable)
    assert len(engine.sizes) == 2


@pytest.mark.parametrize("error", [InvalidArtifact("another export"), RuntimeError("a defect")])
def test_one_generator_that_is_broken_leaves_the_others_alone(error: Exception) -> None:
    engine = FakeEngine()

    async def broken(number: int, inputs: Tensors, out: Tensors) -> Tensors:
        if engine.keys[number] == "other.denoiser":
            raise error
        return out

    engine.fault = broken

    async def both() -> list[Any]:
        batches = runner(engine)
        good = [batches.run(trajectory(num_steps=30, seed=seed), SPEC) for seed in range(2)]
        bad = batches.run(trajectory(seed=3), OTHER)
        results = await asyncio.gather(*good, bad, return_exceptions=True)
        await batches.run(trajectory(seed=4), SPEC)
        return results

    results = asyncio.run(both())
    assert results[:2] == [None, None]
    assert isinstance(results[2], InvalidArtifact if isinstance(error, InvalidArtifact) else BackendUnavailable)


def test_a_deadline_ends_one_request_and_not_its_neighbours() -> None:
    async def slow(number: int, inputs: Tensors, out: Tensors) -> Tensors:
        await asyncio.sleep(0.05)
        return out

    late = trajectory(num_steps=200, deadline=time.monotonic() + 1.5)
    results = together([late, trajectory(num_steps=60)], FakeEngine(slow), rows=8)
    assert isinstance(results[0], DeadlineExceeded)
    assert results[1] is None
    assert 0 < late.index < 200


def test_a_runner_can_be_used_on_one_event_loop_after_another() -> None:
    batches = runner(FakeEngine())
    for seed in range(2):
        asyncio.run(batches.run(trajectory(seed=seed), SPEC))


@pytest.mark.parametrize("separate", [False, True])
def test_closing_fails_what_is_under_way(separate: bool) -> None:
    async def close() -> Any:
        engine: Any = FakeEngine()
        batches = SeparateRequests(engine) if separate else runner(engine)
        running = asyncio.create_task(batches.run(trajectory(num_steps=500), SPEC))
        while not engine.sizes:
            await asyncio.sleep(0)
        await batches.close()
        assert engine.opened == engine.closed
        return (await asyncio.gather(running, return_exceptions=True))[0]

    assert isinstance(asyncio.run(close()), BackendUnavailable)


def test_buffers_of_a_generator_that_is_not_served_any_more_are_given_back() -> None:
    async def release() -> None:
        engine = FakeEngine()
        batches = runner(engine)
        await asyncio.gather(batches.run(trajectory(), SPEC), batches.run(trajectory(), OTHER))
        await batches.release("other")
        assert engine.closed == {"other.denoiser": 1}
        await batches.release("other")
        await asyncio.gather(batches.run(trajectory(), SPEC), batches.run(trajectory(), OTHER))
        assert engine.opened == {"fake.denoiser": 1, "other.denoiser": 2}
        await batches.close()
        assert engine.closed == engine.opened

    asyncio.run(release())


def test_releasing_a_generator_does_not_disturb_batches_under_way() -> None:
    async def release() -> None:
        engine = FakeEngine()
        batches = runner(engine, rows=2, queued=1, min_fill=1)
        some = [trajectory(500, num_steps=6, seed=seed) for seed in range(2)]
        running = asyncio.gather(*(batches.run(one, SPEC) for one in some))
        for count in (3, 9, 15):
            while len(engine.sizes) < count and not running.done():
                await asyncio.sleep(0)
            await batches.release("fake")
        await running
        for seed, one in enumerate(some):
            np.testing.assert_allclose(one.x, alone(trajectory(500, num_steps=6, seed=seed)), atol=1e-5)

    asyncio.run(release())


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


def test_calls_are_in_the_traces_of_the_requests_that_share_them() -> None:
    """Two requests are traced, and one is not; all three share their calls."""

    async def everything(engine: FakeEngine) -> StepBatchRunner:
        batches = runner(engine)

        async def traced(name: str) -> None:
            with tracing.root(name):
                await batches.run(trajectory(num_steps=2, name=1.0), SPEC)

        await asyncio.gather(traced("first"), traced("second"), batches.run(trajectory(num_steps=2), SPEC))
        return batches

    with recorded_spans() as recorded:
        engine = FakeEngine()
        batches = asyncio.run(everything(engine))
    first, second = recorded.one("first"), recorded.one("second")
    calls = recorded.named("infer")
    assert len(calls) == len(engine.sizes)
    assert sum(span.attributes["choreo.rows"] for span in calls) == sum(engine.sizes)
    assert {span.attributes["choreo.graph"] for span in calls} == {"fake.denoiser"}
    for span in calls:
        linked = [link.context.span_id for link in span.links]
        assert set(linked) <= {id_of(first), id_of(second)}
        assert parent_of(span) == linked[0]
    assert any(len(span.links) == 2 and span.attributes["choreo.requests"] == 3 for span in calls)
    assert batches._traced == {}


def test_without_traces_calls_are_made_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*args: Any, **given: Any) -> Any:
        raise AssertionError("a span was asked for")

    monkeypatch.setattr(tracing, "shared", never)
    assert together([trajectory(num_steps=2)], FakeEngine()) == [None]


def test_what_moves_the_batches_is_in_the_context_of_no_request() -> None:
    known: list[str] = []

    async def fault(number: int, inputs: Tensors, out: Tensors) -> Tensors:
        known.append(logs.context().request_id)
        return out

    async def everything() -> None:
        with logs.about(request_id="r-1"):
            await runner(FakeEngine(fault)).run(trajectory(num_steps=2), SPEC)

    asyncio.run(everything())
    assert set(known) == {""}
