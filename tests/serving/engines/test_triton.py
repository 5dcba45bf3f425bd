"""The client of Triton against a scripted server of the real protocol."""

import asyncio
import time
from typing import Any

import grpc
import numpy as np
import pytest
from fake_triton import FakeTriton, engine_over, failing
from tiny_engine_calls import DENOISER, OTHER, SPEC, expected, rows, without_hanging
from tiny_generator import tiny_spec

from choreo.errors import BackendUnavailable, InvalidInput
from serving.engines import triton as triton_engine
from serving.errors import ModelUnavailable


def test_a_call_is_one_request_and_its_rows_are_counted() -> None:
    async def run() -> None:
        triton = FakeTriton()
        async with engine_over(triton) as engine:
            assert await engine.models() == {"tiny": SPEC}
            for count in (1, 10, 32):
                inputs = rows(count)
                out = await engine.infer(DENOISER, inputs)
                np.testing.assert_allclose(out["x0"], expected(inputs), rtol=1e-6)
                assert out["x0"].flags.writeable
            with pytest.raises(InvalidInput, match="has 33 rows, and the denoiser takes 32"):
                await engine.infer(DENOISER, rows(33))
            assert triton.batches == [1, 10, 32]
            assert await engine.statistics() == {DENOISER: 43}

    without_hanging(run())


def test_instances_are_those_of_all_servers() -> None:
    async def run() -> None:
        async with engine_over(FakeTriton(instances=3), FakeTriton(instances=3)) as engine:
            assert await engine.instances(DENOISER) == 6

    without_hanging(run())


def test_models_are_whole_generators_with_the_default_one_first() -> None:
    async def run() -> None:
        triton = FakeTriton(SPEC, OTHER, tiny_spec("half"))
        triton.hidden, triton.foreign = {"half.denoiser"}, {"resnet50"}
        async with engine_over(triton) as engine:
            assert list((await engine.models()).items()) == [("other", OTHER), ("tiny", SPEC)]
        async with engine_over(triton, default_model="tiny") as engine:
            assert list(await engine.models()) == ["tiny", "other"]
            for key, named in {
                "half.denoiser": "half",
                "resnet50": "resnet50",
                "tiny.decoder": "'decoder'",
            }.items():
                with pytest.raises(ModelUnavailable, match=named):
                    await engine.infer(key, rows(1))

    without_hanging(run())


def test_the_list_of_models_is_believed_for_a_while_or_until_it_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        triton = FakeTriton()
        async with engine_over(triton) as engine:
            for _ in range(3):
                await engine.models()
            await engine.infer(DENOISER, rows(1))
            asked = triton.indexed
            assert asked <= 2  # by the engine, and by the connection for its own copy
            triton.specs = (SPEC, OTHER)
            assert list(await engine.models()) == ["tiny"]
            await engine.forget_models()
            assert list(await engine.models()) == ["other", "tiny"]
            triton.specs = (OTHER,)
            monkeypatch.setattr(triton_engine, "MODELS_FOR_S", 0.0)
            await engine.forget_models()
            assert list(await engine.models()) == ["other"]
            triton.specs = (SPEC,)
            assert list(await engine.models()) == ["tiny"]

    without_hanging(run())


def test_a_list_that_was_on_its_way_when_models_changed_is_not_believed() -> None:
    async def run() -> None:
        triton, go, asked = FakeTriton(), asyncio.Event(), asyncio.Event()
        config = triton.ModelConfig

        async def slowly(request: Any, context: Any) -> Any:
            answer = await config(request, context)
            asked.set()
            await go.wait()
            return answer

        triton.ModelConfig = slowly  # type: ignore[method-assign]
        async with engine_over(triton) as engine:
            first = asyncio.create_task(engine.models())
            await asked.wait()
            triton.specs = (SPEC, OTHER)
            await engine.forget_models()
            second = asyncio.create_task(engine.models())
            go.set()
            assert list(await first) == ["tiny"]
            assert list(await second) == ["other", "tiny"]

    without_hanging(run())


def test_a_model_that_came_later_is_asked_for_at_once() -> None:
    async def run() -> None:
        triton = FakeTriton(OTHER)
        async with engine_over(triton) as engine:
            assert list(await engine.models()) == ["other"]
            triton.specs = (OTHER, SPEC)
            with pytest.raises(ModelUnavailable, match="nobody is not served; there are other"):
                await engine.infer("nobody.denoiser", rows(1))
            assert (await engine.infer(DENOISER, rows(1)))["x0"].shape == (1, 8, 4)

    without_hanging(run())


def test_a_model_that_was_unloaded_is_named_and_not_asked_for_again() -> None:
    async def run() -> None:
        triton = FakeTriton()
        gone = f"Request for unknown model: '{DENOISER}' is not found"
        triton.infer = failing(grpc.StatusCode.UNAVAILABLE, gone, times=1)(triton)
        async with engine_over(triton) as engine:
            with pytest.raises(ModelUnavailable, match=DENOISER):
                await engine.infer(DENOISER, rows(1))

    without_hanging(run())


def test_it_knows_when_a_server_answered_last() -> None:
    async def run() -> None:
        triton = FakeTriton()
        async with engine_over(triton, rounds=1) as engine:
            assert engine.answered_at == -np.inf
            before = time.monotonic()
            await engine.infer(DENOISER, rows(1))
            answered = engine.answered_at
            assert before <= answered <= time.monotonic()
            triton.infer = failing(grpc.StatusCode.UNAVAILABLE)(triton)
            with pytest.raises(BackendUnavailable):
                await engine.infer(DENOISER, rows(1))
            assert engine.answered_at == answered

    without_hanging(run())
