"""Several samples of a request in the sampler: seeds, shares, and what becomes of errors."""

import asyncio
from typing import Any

import numpy as np
import pytest
from fake_sampler_engine import FakeEngine, conditioning, job, made
from numpy.typing import NDArray

from choreo.errors import BackendUnavailable, NonFiniteOutput
from choreo.generators.spec import GeneratorSpec
from serving.sampling.runner import executor
from serving.settings import Settings
from serving.stages.sampler import Sampler


def test_samples_of_one_request_have_their_seeds_and_share_step_batches() -> None:
    async def sampled() -> Any:
        engine = FakeEngine()
        sampler = made(engine)
        several = await sampler.samples(job(num_samples=3, num_steps=4), conditioning(), None)
        calls = engine.graphs.count("denoiser")
        alone = [await sampler.sample(job(seed=seed, num_steps=4), conditioning(), None) for seed in (5, 6, 7)]
        await sampler.close()
        return several, calls, alone

    several, calls, alone = asyncio.run(sampled())
    assert calls == 4
    assert len(several) == 3
    for one, other in zip(several, alone, strict=True):
        np.testing.assert_array_equal(one.features, other.features)


def first_windows(*seeds: int) -> list[NDArray[np.float32]]:
    """What the denoiser sees at the first step of requests with these seeds."""

    async def sampled(seed: int) -> NDArray[np.float32]:
        engine = FakeEngine()
        sampler = made(engine)
        await sampler.sample(job(seed=seed, num_steps=1), conditioning(), None)
        await sampler.close()
        return engine.calls[1][1]["x"][0]

    return [asyncio.run(sampled(seed)) for seed in seeds]


@pytest.mark.parametrize("kind", ["step-batches", "requests"])
def test_nan_in_a_sample_leaves_out_that_one_only(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    async def sampled() -> Any:
        engine = FakeEngine()
        engine.nan_for = first_windows_of_6
        sampler = Sampler(engine, executor(Settings(executor=kind)))
        several = await sampler.samples(job(num_samples=3, num_steps=4), conditioning(), None)
        alone = [await sampler.sample(job(seed=seed, num_steps=4), conditioning(), None) for seed in (5, 7)]
        await sampler.close()
        return several, alone

    first_windows_of_6 = first_windows(6)
    (first, failed, last), alone = asyncio.run(sampled())
    assert failed is None
    assert "seed 6 failed: the denoiser produced NaN" in caplog.text
    for one, other in zip((first, last), alone, strict=True):
        np.testing.assert_array_equal(one.features, other.features)


def test_nan_in_all_samples_fails_the_request() -> None:
    async def sampled() -> None:
        engine = FakeEngine()
        engine.nan_for = windows
        sampler = made(engine)
        with pytest.raises(NonFiniteOutput, match="produced NaN or infinity in 'x0'"):
            await sampler.samples(job(num_samples=3), conditioning(), None)
        await sampler.close()

    windows = first_windows(5, 6, 7)
    asyncio.run(sampled())


def test_any_other_error_of_one_sample_ends_all() -> None:
    async def sampled() -> None:
        engine = FakeEngine()
        engine.down = True
        sampler = made(engine)
        with pytest.raises(BackendUnavailable):
            await sampler.samples(job(num_samples=3), conditioning(), None)
        assert len(asyncio.all_tasks()) <= 2  # this one, and the sampler's own
        await sampler.close()

    asyncio.run(sampled())


def test_many_samples_of_one_request_do_not_hold_up_another() -> None:
    async def sampled() -> None:
        ended: list[str] = []
        sampler = made(FakeEngine(), concurrency=2)

        async def ending(name: str, work: Any) -> None:
            await work
            ended.append(name)

        many = sampler.samples(job(num_samples=8, num_steps=6), conditioning(), None)
        first = asyncio.ensure_future(ending("many", many))
        await asyncio.sleep(0)
        one = asyncio.ensure_future(ending("one", sampler.sample(job(num_steps=6), conditioning(), None)))
        await asyncio.gather(first, one)
        assert ended == ["one", "many"]
        await sampler.close()

    asyncio.run(sampled())


def test_each_sample_has_its_share_of_one_requests_weight() -> None:
    weights: list[float] = []

    class FakeExecutor:
        """Notes the weight of what it is given."""

        async def run(self, trajectory: Any, spec: GeneratorSpec) -> None:
            weights.append(trajectory.weight)
            raise BackendUnavailable("it was only noted")

    async def sampled() -> None:
        sampler = Sampler(FakeEngine(), lambda _: FakeExecutor())  # type: ignore[arg-type,return-value]
        with pytest.raises(BackendUnavailable):
            await sampler.samples(job(num_samples=4), conditioning(), None)

    asyncio.run(sampled())
    assert weights
    assert set(weights) == {1 / 4}
