"""Several samples of a request in the sampler: seeds, shares, and what becomes of errors."""

import asyncio
from typing import Any

import numpy as np
import pytest
from fake_sampler_engine import FakeEngine, conditioning, job, made

from choreo.errors import BackendUnavailable
from choreo.generators.spec import GeneratorSpec
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


def test_an_error_of_one_sample_ends_all() -> None:
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
