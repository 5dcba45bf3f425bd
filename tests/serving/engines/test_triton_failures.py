"""The client of Triton where servers fail, hang, differ, or answer what cannot be used."""

import asyncio
import time
from typing import Any

import grpc
import numpy as np
import pytest
from fake_triton import FakeTriton, engine_over, failing, serving
from tiny_engine_calls import DENOISER, expected, rows, without_hanging
from tiny_generator import tiny_spec

from choreo.errors import BackendUnavailable, DeadlineExceeded, InvalidArtifact, InvalidInput, NonFiniteOutput
from serving.engines.triton import TritonEngine


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (grpc.StatusCode.UNAVAILABLE, "Exceeds maximum queue size"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "full"),
        (grpc.StatusCode.INTERNAL, "Stub process 'denoiser_0_0' is not healthy."),
    ],
)
def test_what_heals_is_tried_again(code: grpc.StatusCode, message: str) -> None:
    async def run() -> None:
        triton = FakeTriton()
        triton.infer = failing(code, message, times=3)(triton)
        async with engine_over(triton) as engine:
            inputs = rows(1)
            np.testing.assert_allclose((await engine.infer(DENOISER, inputs))["x0"], expected(inputs), rtol=1e-6)
        triton.infer = failing(code, message)(triton)
        async with engine_over(triton, rounds=3) as engine:
            with pytest.raises(BackendUnavailable, match=message[:4]):
                await engine.infer(DENOISER, rows(1))

    without_hanging(run())


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (grpc.StatusCode.INTERNAL, BackendUnavailable),
        (grpc.StatusCode.INVALID_ARGUMENT, InvalidArtifact),
        (grpc.StatusCode.NOT_FOUND, InvalidArtifact),
    ],
)
def test_what_does_not_heal_is_tried_once(code: grpc.StatusCode, error: type[Exception]) -> None:
    async def run() -> None:
        triton = FakeTriton()
        triton.infer = failing(code, times=1)(triton)
        async with engine_over(triton) as engine:
            with pytest.raises(error):
                await engine.infer(DENOISER, rows(1))

    without_hanging(run())


def test_retries_end_with_the_deadline() -> None:
    async def run() -> None:
        triton = FakeTriton()
        triton.infer = failing(grpc.StatusCode.UNAVAILABLE)(triton)
        async with engine_over(triton, first_delay_s=0.2, rounds=1000) as engine:
            began = time.monotonic()
            with pytest.raises(BackendUnavailable):
                await engine.infer(DENOISER, rows(1), deadline=began + 0.5)
            assert time.monotonic() - began < 0.5

    without_hanging(run())


def test_a_server_that_does_not_answer() -> None:
    async def run() -> None:
        async def hang(request: Any, context: Any) -> Any:
            await asyncio.Event().wait()

        async with engine_over(FakeTriton(infer=hang), timeout_s=0.2) as engine:
            with pytest.raises(BackendUnavailable):
                await engine.infer(DENOISER, rows(1))
            with pytest.raises(DeadlineExceeded):
                await engine.infer(DENOISER, rows(1), deadline=time.monotonic() + 0.1)
            with pytest.raises(DeadlineExceeded):
                await engine.infer(DENOISER, rows(1), deadline=time.monotonic() - 1)

    without_hanging(run())


def test_cancelling_the_call_cancels_the_rpc() -> None:
    async def run() -> None:
        started, cancelled = asyncio.Event(), asyncio.Event()

        async def hang(request: Any, context: Any) -> Any:
            started.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.set()
                raise

        async with engine_over(FakeTriton(infer=hang)) as engine:
            call = asyncio.create_task(engine.infer(DENOISER, rows(8)))
            await started.wait()
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            await cancelled.wait()

    without_hanging(run())


def test_several_servers_share_the_work_and_replace_each_other() -> None:
    async def run() -> None:
        first, second = FakeTriton(), FakeTriton()
        async with serving(first, second) as urls:
            engine = TritonEngine([*urls, "127.0.0.1:1"], first_delay_s=0.001)
            for _ in range(6):
                await engine.infer(DENOISER, rows(1))
            assert sum(first.batches) + sum(second.batches) == 6
            assert first.batches
            assert second.batches
            # The counters of a server that is down are not known, so the sum is not either.
            with pytest.raises(BackendUnavailable):
                await engine.statistics()
            await engine.close()

    without_hanging(run())


def test_no_server_at_all() -> None:
    async def run() -> None:
        engine = TritonEngine(["127.0.0.1:1"], rounds=2, first_delay_s=0.001)
        with pytest.raises(BackendUnavailable, match=r"127\.0\.0\.1:1"):
            await engine.models()
        await engine.close()

    without_hanging(run())
    with pytest.raises(InvalidInput):
        TritonEngine([])


def test_servers_with_different_models_are_not_mixed() -> None:
    async def run() -> None:
        other = FakeTriton(tiny_spec(std=(2.0,) * 4))
        async with engine_over(FakeTriton(), other) as engine:
            results = [engine.infer(DENOISER, rows(1)) for _ in range(4)]
            errors = [r for r in await asyncio.gather(*results, return_exceptions=True) if isinstance(r, Exception)]
            assert [type(e) for e in errors] == [InvalidArtifact] * 2

    without_hanging(run())


def test_answers_that_cannot_be_used() -> None:
    async def run() -> None:
        async with engine_over(FakeTriton()) as engine:
            with pytest.raises(NonFiniteOutput):
                await engine.infer(DENOISER, rows(1) | {"x": np.full((1, 8, 4), -1, np.float32)})
            with pytest.raises(InvalidInput):
                await engine.infer(DENOISER, rows(1) | {"x": np.zeros((1, 9, 4), np.float32)})

        triton = FakeTriton()

        async def short(request: Any, context: Any) -> Any:
            response = await triton.denoise(request, context)
            response.outputs[0].shape[1] = 4
            response.raw_output_contents[0] = response.raw_output_contents[0][: 4 * 4 * 4]
            return response

        triton.infer = short
        async with engine_over(triton) as engine:
            with pytest.raises(InvalidArtifact, match="shape"):
                await engine.infer(DENOISER, rows(1))

    without_hanging(run())


def test_nothing_works_after_close() -> None:
    async def run() -> None:
        async with engine_over(FakeTriton()) as engine:
            await engine.infer(DENOISER, rows(1))
            await engine.close()
            with pytest.raises(BackendUnavailable):
                await engine.infer(DENOISER, rows(1))

    without_hanging(run())
