"""The sampler while generators come, go and change."""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_sampler_engine import SPEC, FakeEngine, conditioning, job, made, unet

from choreo.errors import BackendUnavailable
from choreo.generators.spec import GeneratorSpec
from serving.engines import leases
from serving.engines.leases import LeaseBoard, Leases
from serving.errors import ModelUnavailable
from serving.pipeline.results import NO_STEPS, StepCounts
from serving.stages.context_cache import ContextCache
from serving.stages.sampler import Sampler


@pytest.fixture
def board(tmp_path: Path) -> LeaseBoard:
    board = LeaseBoard(tmp_path / "leases")
    board.publish(["fake", "other"])
    return board


def test_only_what_the_supervisor_serves_is_listed_in_its_order(board: LeaseBoard, tmp_path: Path) -> None:
    async def listed() -> None:
        sampler = made(FakeEngine(unet("third"), SPEC, unet("other")), leases=Leases(tmp_path / "leases"))
        assert list(await sampler.models()) == ["fake", "other"]
        board.publish(["other", "third", "unheard-of"])
        assert list(await sampler.models()) == ["other", "third"]
        board.publish([])
        assert await sampler.models() == {}
        for model in (None, "fake"):
            with pytest.raises(ModelUnavailable, match="no model is served"):
                await sampler.sample(job(model=model), conditioning(), None)

    asyncio.run(listed())


def test_a_request_waits_for_a_reload_and_uses_what_was_loaded(
    board: LeaseBoard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "POLL_S", 0)

    async def reloaded() -> None:
        engine = FakeEngine(SPEC)
        board.publish(["fake"])
        sampler = made(engine, leases=Leases(tmp_path / "leases"))
        before = await sampler.sample(job(num_steps=2), conditioning(), None)
        board.publish(["fake"], ["fake"])
        engine.specs = {}  # there is nothing on the server at this moment
        waiting = asyncio.create_task(sampler.sample(job(num_steps=2), conditioning(), None))
        for _ in range(20):
            await asyncio.sleep(0)
        assert list(await sampler.models()) == ["fake"]
        assert not waiting.done()
        engine.specs = {"fake": unet(std=(4.0,) * 66, context_dim=6)}
        board.publish(["fake"])
        after = await asyncio.wait_for(waiting, 10)
        np.testing.assert_allclose((before.features - 0.5) * 2, after.features - 0.5, rtol=1e-5, atol=1e-5)
        await sampler.close()

    asyncio.run(reloaded())


def test_rows_that_were_made_before_a_reload_are_made_again(board: LeaseBoard, tmp_path: Path) -> None:
    """The weights may be other ones, and the spec is the same."""

    async def reloaded() -> None:
        engine = FakeEngine()
        sampler = made(engine, cache=ContextCache(1 << 20), leases=Leases(tmp_path / "leases"))
        for expected in (1, 1):
            await sampler.sample(job(num_steps=1), conditioning(), None)
            assert engine.graphs.count("conditioner") == expected
        board.publish(["fake", "other"], ["fake"])
        board.publish(["fake", "other"])
        await sampler.sample(job(num_steps=1), conditioning(), None)
        assert engine.graphs.count("conditioner") == 2
        await sampler.close()

    asyncio.run(reloaded())


def test_what_is_kept_for_a_generator_is_given_back_when_its_requests_have_ended(
    board: LeaseBoard, tmp_path: Path
) -> None:
    released: list[str] = []
    go = asyncio.Event()

    class FakeExecutor:
        async def run(self, trajectory: Any, spec: GeneratorSpec) -> None:
            await go.wait()
            raise BackendUnavailable("it was only held")

        async def release(self, model: str) -> None:
            released.append(model)

        def take_counts(self) -> StepCounts:
            return NO_STEPS

        async def close(self) -> None: ...

    async def removed() -> None:
        engine = FakeEngine(SPEC, unet("other"))
        sampler = Sampler(engine, lambda _: FakeExecutor(), leases=Leases(tmp_path / "leases"))
        under_way = asyncio.create_task(sampler.sample(job(model="other"), conditioning(), None))
        await asyncio.sleep(0)
        board.publish(["fake"])
        assert list(await sampler.models()) == ["fake"]
        assert released == []
        go.set()
        await asyncio.wait([under_way])
        await sampler.models()
        await sampler.models()
        assert released == ["other"]

    asyncio.run(removed())
