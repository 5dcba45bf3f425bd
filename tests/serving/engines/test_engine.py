"""Engines: ONNX Runtime in process, and the Triton client against a scripted server of the real protocol."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from numpy.typing import NDArray
from tiny_generator import tiny_inputs, tiny_repository, tiny_spec, write_graphs
from tritonclient.grpc import model_config_pb2, service_pb2, service_pb2_grpc

from choreo.errors import (
    BackendUnavailable,
    DeadlineExceeded,
    InvalidArtifact,
    InvalidInput,
    MissingDependency,
    NonFiniteOutput,
)
from choreo.generators.spec import ModelSpec
from export.repository import GRAPHS
from serving.engines.local import OnnxEngine
from serving.engines.triton import TritonEngine

SPEC = tiny_spec()
SLOW = 3e6
"""A `t` that keeps the tiny denoiser busy for much longer than any test."""


def rows(count: int, seed: int = 0, t: float = 0) -> dict[str, NDArray]:
    return tiny_inputs(SPEC, "denoiser", count, seed, t)


def expected(inputs: dict[str, NDArray]) -> NDArray:
    return np.sqrt(inputs["x"]) / 2


def without_hanging(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 60))


class TestOnnxEngine:
    @pytest.fixture
    def engine(self, tmp_path: Path) -> OnnxEngine:
        return OnnxEngine(tiny_repository(tmp_path / "model_repo"), threads=1, max_rows=4)

    def test_both_graphs(self, engine: OnnxEngine) -> None:
        async def run() -> None:
            assert await engine.specs() == {"tiny": SPEC}
            inputs = rows(3)
            np.testing.assert_allclose((await engine.infer("denoiser", inputs))["x0"], expected(inputs), rtol=1e-6)
            out = await engine.infer("conditioner", tiny_inputs(SPEC, "conditioner", 2))
            assert {name: values.shape for name, values in out.items()} == {
                "context": (2, 3, 5),
                "context_mask": (2, 3),
            }
            await engine.close()

        without_hanging(run())

    def test_many_rows_go_in_parts_and_are_counted(self, engine: OnnxEngine) -> None:
        async def run() -> None:
            inputs = rows(11)
            out = await engine.infer("denoiser", inputs)
            np.testing.assert_allclose(out["x0"], expected(inputs), rtol=1e-6)
            assert await engine.statistics() == {"conditioner": 0, "denoiser": 11}
            await engine.close()

        without_hanging(run())

    @pytest.mark.parametrize(("count", "parts"), [(1, [1]), (2, [1, 1]), (3, [3])])
    def test_a_whole_call_stays_whole_but_for_the_two_rows_of_a_lone_window(
        self, engine: OnnxEngine, count: int, parts: list[int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen: list[int] = []
        run_part = engine._run

        def counting(graph: Any, inputs: dict[str, NDArray[np.float32]], options: Any) -> Any:
            seen.append(len(inputs["x"]))
            return run_part(graph, inputs, options)

        monkeypatch.setattr(engine, "_run", counting)
        monkeypatch.setitem(engine._instances, "denoiser", 4)

        async def run() -> None:
            inputs = rows(count)
            out = await engine.infer("denoiser", inputs, whole=True)
            np.testing.assert_allclose(out["x0"], expected(inputs), rtol=1e-6)
            await engine.close()

        without_hanging(run())
        assert seen == parts

    def test_a_folder_of_graphs(self, tmp_path: Path) -> None:
        async def run() -> None:
            write_graphs(tmp_path, SPEC)
            engine = OnnxEngine(tmp_path, SPEC)
            assert (await engine.infer("denoiser", rows(1)))["x0"].flags.writeable
            await engine.close()

        without_hanging(run())

    def test_missing_and_broken_graphs(self, tmp_path: Path) -> None:
        with pytest.raises(MissingDependency, match="choreo export"):
            OnnxEngine(tmp_path, SPEC)
        write_graphs(tmp_path, SPEC)
        (tmp_path / "denoiser.onnx").write_bytes(b"broken")
        with pytest.raises(InvalidArtifact):
            OnnxEngine(tmp_path, SPEC)

    def test_a_deadline_ends_the_run(self, engine: OnnxEngine) -> None:
        async def run() -> None:
            with pytest.raises(DeadlineExceeded):
                await engine.infer("denoiser", rows(1), deadline=time.monotonic() - 1)
            with pytest.raises(DeadlineExceeded):
                await engine.infer("denoiser", rows(1, t=SLOW), deadline=time.monotonic() + 0.1)
            # The thread is free again: the run was ended, not only abandoned.
            began = time.monotonic()
            await engine.infer("denoiser", rows(1))
            assert time.monotonic() - began < 5
            await engine.close()

        without_hanging(run())

    def test_a_cancelled_call_ends_the_run(self, engine: OnnxEngine) -> None:
        async def run() -> None:
            calls = [asyncio.create_task(engine.infer("denoiser", rows(1, t=SLOW))) for _ in range(2)]
            await asyncio.sleep(0)
            for call in calls:
                call.cancel()
            assert all(
                isinstance(r, asyncio.CancelledError) for r in await asyncio.gather(*calls, return_exceptions=True)
            )
            await engine.infer("denoiser", rows(1))
            assert (await engine.statistics())["denoiser"] == 1
            await engine.close()

        without_hanging(run())

    def test_nothing_works_after_close(self, engine: OnnxEngine) -> None:
        async def run() -> None:
            await engine.close()
            await engine.close()
            with pytest.raises(BackendUnavailable):
                await engine.infer("denoiser", rows(1))

        without_hanging(run())

    def test_nan_is_withheld(self, engine: OnnxEngine) -> None:
        async def run() -> None:
            with pytest.raises(NonFiniteOutput):
                await engine.infer("denoiser", rows(2) | {"x": np.full((2, 8, 4), -1, np.float32)})
            await engine.close()

        without_hanging(run())

    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"x": np.zeros((2, 8, 5))}, "x"),
            ({"x": np.zeros((0, 8, 4))}, "x"),
            ({"t": np.zeros((3, 1))}, "t"),
            ({"t": np.float32(0)}, "t"),
            ({"noise": np.zeros((2, 1))}, "noise"),
        ],
    )
    def test_wrong_inputs_are_named(self, engine: OnnxEngine, changes: dict[str, NDArray], field: str) -> None:
        async def run() -> None:
            with pytest.raises(InvalidInput) as caught:
                await engine.infer("denoiser", rows(2) | changes)
            assert caught.value.field == field
            inputs = rows(2)
            del inputs["prior"]
            with pytest.raises(InvalidInput, match="prior"):
                await engine.infer("denoiser", inputs)
            await engine.close()

        without_hanging(run())


Infer = Callable[[Any, Any], Awaitable[Any]]


class FakeTriton(service_pb2_grpc.GRPCInferenceServiceServicer):
    """Speaks Triton's protocol; what an inference does is a function, by default the tiny denoiser."""

    def __init__(
        self, spec: ModelSpec = SPEC, infer: Infer | None = None, max_batch_size: int = 4, instances: int = 1
    ) -> None:
        self.spec, self.max_batch_size, self.instances = spec, max_batch_size, instances
        self.infer = infer or self.denoise
        self.batches: list[int] = []

    async def ModelConfig(self, request: Any, context: Any) -> Any:
        config = model_config_pb2.ModelConfig(name=request.name, max_batch_size=self.max_batch_size)
        config.parameters["choreo"].string_value = self.spec.model_dump_json()
        config.instance_group.add(count=self.instances)
        return service_pb2.ModelConfigResponse(config=config)

    async def ModelStatistics(self, request: Any, context: Any) -> Any:
        counts = {"name": "denoiser", "inference_count": sum(self.batches), "execution_count": len(self.batches)}
        return service_pb2.ModelStatisticsResponse(model_stats=[service_pb2.ModelStatistics(**counts)])

    async def ModelInfer(self, request: Any, context: Any) -> Any:
        return await self.infer(request, context)

    async def denoise(self, request: Any, context: Any) -> Any:
        shape = list(request.inputs[0].shape)
        assert request.inputs[0].name == "x"
        self.batches.append(shape[0])
        x = np.frombuffer(request.raw_input_contents[0], np.float32)
        response = service_pb2.ModelInferResponse(model_name=request.model_name)
        response.outputs.add(name="x0", datatype="FP32", shape=shape)
        with np.errstate(invalid="ignore"):
            response.raw_output_contents.append((np.sqrt(x) / 2).tobytes())
        return response


def failing(code: grpc.StatusCode, message: str = "no", times: int = 10**9) -> Callable[[FakeTriton], Infer]:
    """An inference that fails so many times before it works."""
    left = times

    def bind(triton: FakeTriton) -> Infer:
        async def infer(request: Any, context: Any) -> Any:
            nonlocal left
            if left > 0:
                left -= 1
                await context.abort(code, message)
            return await triton.denoise(request, context)

        return infer

    return bind


@asynccontextmanager
async def serving(*tritons: FakeTriton) -> AsyncIterator[list[str]]:
    servers, urls = [], []
    for triton in tritons:
        server = grpc.aio.server()
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(triton, server)
        urls.append(f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}")
        await server.start()
        servers.append(server)
    try:
        yield urls
    finally:
        for server in servers:
            await server.stop(None)


@asynccontextmanager
async def engine_over(*tritons: FakeTriton, **options: Any) -> AsyncIterator[TritonEngine]:
    async with serving(*tritons) as urls:
        engine = TritonEngine(urls, **({"first_delay_s": 0.001} | options))
        try:
            yield engine
        finally:
            await engine.close()


class TestTritonEngine:
    def test_rows_are_split_and_put_together_again(self) -> None:
        async def run() -> None:
            triton = FakeTriton(max_batch_size=4)
            async with engine_over(triton) as engine:
                assert await engine.specs() == {"tiny": SPEC}
                inputs = rows(10)
                out = await engine.infer("denoiser", inputs)
                np.testing.assert_allclose(out["x0"], expected(inputs), rtol=1e-6)
                assert out["x0"].flags.writeable
                assert sorted(triton.batches) == [3, 3, 4]
                assert await engine.statistics() == {"conditioner": 0, "denoiser": 10}
                assert await engine.executions() == {"conditioner": 0, "denoiser": 3}

        without_hanging(run())

    @pytest.mark.parametrize(("count", "batches"), [(1, [1]), (2, [1, 1]), (4, [1, 1, 2]), (14, [3, 3, 4, 4])])
    def test_every_instance_gets_some_of_the_rows(self, count: int, batches: list[int]) -> None:
        async def run() -> None:
            triton = FakeTriton(max_batch_size=4, instances=3)
            async with engine_over(triton) as engine:
                inputs = rows(count)
                np.testing.assert_allclose((await engine.infer("denoiser", inputs))["x0"], expected(inputs), rtol=1e-6)
                assert sorted(triton.batches) == batches

        without_hanging(run())

    @pytest.mark.parametrize(
        ("code", "message"),
        [
            (grpc.StatusCode.UNAVAILABLE, "Exceeds maximum queue size"),
            (grpc.StatusCode.RESOURCE_EXHAUSTED, "full"),
            (grpc.StatusCode.INTERNAL, "Stub process 'denoiser_0_0' is not healthy."),
        ],
    )
    def test_what_heals_is_tried_again(self, code: grpc.StatusCode, message: str) -> None:
        async def run() -> None:
            triton = FakeTriton()
            triton.infer = failing(code, message, times=3)(triton)
            async with engine_over(triton) as engine:
                inputs = rows(1)
                np.testing.assert_allclose((await engine.infer("denoiser", inputs))["x0"], expected(inputs), rtol=1e-6)
            triton.infer = failing(code, message)(triton)
            async with engine_over(triton, rounds=3) as engine:
                with pytest.raises(BackendUnavailable, match=message[:4]):
                    await engine.infer("denoiser", rows(1))

        without_hanging(run())

    @pytest.mark.parametrize(
        ("code", "error"),
        [
            (grpc.StatusCode.INTERNAL, BackendUnavailable),
            (grpc.StatusCode.INVALID_ARGUMENT, InvalidArtifact),
            (grpc.StatusCode.NOT_FOUND, InvalidArtifact),
        ],
    )
    def test_what_does_not_heal_is_tried_once(self, code: grpc.StatusCode, error: type[Exception]) -> None:
        async def run() -> None:
            triton = FakeTriton()
            triton.infer = failing(code, times=1)(triton)
            async with engine_over(triton) as engine:
                with pytest.raises(error):
                    await engine.infer("denoiser", rows(1))

        without_hanging(run())

    def test_retries_end_with_the_deadline(self) -> None:
        async def run() -> None:
            triton = FakeTriton()
            triton.infer = failing(grpc.StatusCode.UNAVAILABLE)(triton)
            async with engine_over(triton, first_delay_s=0.2, rounds=1000) as engine:
                began = time.monotonic()
                with pytest.raises(BackendUnavailable):
                    await engine.infer("denoiser", rows(1), deadline=began + 0.5)
                assert time.monotonic() - began < 0.5

        without_hanging(run())

    def test_a_server_that_does_not_answer(self) -> None:
        async def run() -> None:
            async def hang(request: Any, context: Any) -> Any:
                await asyncio.Event().wait()

            async with engine_over(FakeTriton(infer=hang), timeout_s=0.2) as engine:
                with pytest.raises(BackendUnavailable):
                    await engine.infer("denoiser", rows(1))
                with pytest.raises(DeadlineExceeded):
                    await engine.infer("denoiser", rows(1), deadline=time.monotonic() + 0.1)
                with pytest.raises(DeadlineExceeded):
                    await engine.infer("denoiser", rows(1), deadline=time.monotonic() - 1)

        without_hanging(run())

    def test_cancelling_the_call_cancels_every_rpc(self) -> None:
        async def run() -> None:
            started, cancelled = asyncio.Semaphore(0), asyncio.Semaphore(0)

            async def hang(request: Any, context: Any) -> Any:
                started.release()
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    cancelled.release()
                    raise

            async with engine_over(FakeTriton(infer=hang, max_batch_size=4)) as engine:
                call = asyncio.create_task(engine.infer("denoiser", rows(8)))
                for _ in range(2):
                    await started.acquire()
                call.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await call
                for _ in range(2):
                    await cancelled.acquire()

        without_hanging(run())

    def test_one_failing_part_cancels_the_others(self) -> None:
        async def run() -> None:
            cancelled = asyncio.Event()

            async def hang_or_fail(request: Any, context: Any) -> Any:
                if request.inputs[0].shape[0] == 2:
                    await context.abort(grpc.StatusCode.INTERNAL, "broken")
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    cancelled.set()
                    raise

            async with engine_over(FakeTriton(infer=hang_or_fail, max_batch_size=4)) as engine:
                with pytest.raises(BackendUnavailable):
                    await engine.infer("denoiser", rows(5))
                await cancelled.wait()

        without_hanging(run())

    def test_several_servers_share_the_work_and_replace_each_other(self) -> None:
        async def run() -> None:
            first, second = FakeTriton(), FakeTriton()
            async with serving(first, second) as urls:
                engine = TritonEngine([*urls, "127.0.0.1:1"], first_delay_s=0.001)
                for _ in range(6):
                    await engine.infer("denoiser", rows(1))
                assert sum(first.batches) + sum(second.batches) == 6
                assert first.batches
                assert second.batches
                # The counters of a server that is down are not known, so the sum is not either.
                with pytest.raises(BackendUnavailable):
                    await engine.statistics()
                await engine.close()

        without_hanging(run())

    def test_no_server_at_all(self) -> None:
        async def run() -> None:
            engine = TritonEngine(["127.0.0.1:1"], rounds=2, first_delay_s=0.001)
            with pytest.raises(BackendUnavailable, match=r"127\.0\.0\.1:1"):
                await engine.specs()
            await engine.close()

        without_hanging(run())
        with pytest.raises(InvalidInput):
            TritonEngine([])

    def test_servers_with_different_models_are_not_mixed(self) -> None:
        async def run() -> None:
            other = FakeTriton(tiny_spec(std=(2.0,) * 4))
            async with engine_over(FakeTriton(), other) as engine:
                results = [engine.infer("denoiser", rows(1)) for _ in range(4)]
                errors = [r for r in await asyncio.gather(*results, return_exceptions=True) if isinstance(r, Exception)]
                assert [type(e) for e in errors] == [InvalidArtifact] * 2

        without_hanging(run())

    def test_answers_that_cannot_be_used(self) -> None:
        async def run() -> None:
            async with engine_over(FakeTriton()) as engine:
                with pytest.raises(NonFiniteOutput):
                    await engine.infer("denoiser", rows(1) | {"x": np.full((1, 8, 4), -1, np.float32)})
                with pytest.raises(InvalidInput):
                    await engine.infer("denoiser", rows(1) | {"x": np.zeros((1, 9, 4), np.float32)})

            triton = FakeTriton()

            async def short(request: Any, context: Any) -> Any:
                response = await triton.denoise(request, context)
                response.outputs[0].shape[1] = 4
                response.raw_output_contents[0] = response.raw_output_contents[0][: 4 * 4 * 4]
                return response

            triton.infer = short
            async with engine_over(triton) as engine:
                with pytest.raises(InvalidArtifact, match="shape"):
                    await engine.infer("denoiser", rows(1))

        without_hanging(run())

    def test_nothing_works_after_close(self) -> None:
        async def run() -> None:
            async with engine_over(FakeTriton()) as engine:
                await engine.infer("denoiser", rows(1))
                await engine.close()
                with pytest.raises(BackendUnavailable):
                    await engine.infer("denoiser", rows(1))

        without_hanging(run())


def test_the_two_graphs_are_named_as_in_triton() -> None:
    assert GRAPHS == ("conditioner", "denoiser")
