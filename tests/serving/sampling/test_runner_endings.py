"""How requests leave a StepBatchRunner before their end: cancelled, failed, late, or with their generator."""

import asyncio
import time
from typing import Any

import numpy as np
import pytest
from fake_step_engine import OTHER, SPEC, FakeEngine, alone, runner, together, trajectory

from choreo.diffusion.trajectory import ReverseProcess
from choreo.errors import BackendUnavailable, DeadlineExceeded, InvalidArtifact, NonFiniteOutput
from choreo.generators.base import Tensors
from serving.sampling.runner import SeparateRequests, StepBatchRunner


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
