"""Engines: in this process, and the Triton client against a scripted server of the real protocol."""

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
from tiny_generator import tiny_inputs, tiny_repository, tiny_spec
from tritonclient.grpc import model_config_pb2, service_pb2, service_pb2_grpc

from choreo.errors import (
    BackendUnavailable,
    DeadlineExceeded,
    InvalidArtifact,
    InvalidInput,
    MissingDependency,
    NonFiniteOutput,
)
from choreo.generators.spec import GeneratorSpec
from export.repository import serve_only
from serving.engines import triton as triton_engine
from serving.engines.local import LocalEngine
from serving.engines.triton import TritonEngine
from serving.errors import ModelUnavailable

SPEC = tiny_spec()
OTHER = tiny_spec("other", context_dim=6)
CONDITIONER, DENOISER = SPEC.key("conditioner"), SPEC.key("denoiser")
SLOW = 3e6
"""A `t` that keeps the tiny denoiser busy for much longer than any test."""


def rows(count: int, seed: int = 0, t: float = 0) -> dict[str, NDArray]:
    return tiny_inputs(SPEC, "denoiser", count, seed, t)


def expected(inputs: dict[str, NDArray]) -> NDArray:
    return np.sqrt(inputs["x"]) / 2


def without_hanging(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 60))


class TestLocalEngine:
    @pytest.fixture
    def engine(self, tmp_path: Path) -> LocalEngine:
        return LocalEngine(tiny_repository(tmp_path / "model_repo"), threads=1)

    def test_both_graphs(self, engine: LocalEngine) -> None:
        async def run() -> None:
            assert await engine.models() == {"tiny": SPEC}
            inputs = rows(3)
            out = await engine.infer(DENOISER, inputs)
            np.testing.assert_allclose(out["x0"], expected(inputs), rtol=1e-6)
            assert out["x0"].flags.writeable
            out = await engine.infer(CONDITIONER, tiny_inputs(SPEC, "conditioner", 2))
            assert {name: values.shape for name, values in out.items()} == {
                "context": (2, 3, 5),
                "context_mask": (2, 3),
            }
            await engine.close()

        without_hanging(run())

    def test_rows_are_counted_and_more_than_a_graph_takes_are_refused(self, engine: LocalEngine) -> None:
        async def run() -> None:
            for count in (11, 32):
                inputs = rows(count)
                np.testing.assert_allclose((await engine.infer(DENOISER, inputs))["x0"], expected(inputs), rtol=1e-6)
            with pytest.raises(InvalidInput, match=r"has 33 rows, and the denoiser takes 32") as caught:
                await engine.infer(DENOISER, rows(33))
            assert caught.value.field == "x"
            with pytest.raises(InvalidInput, match=r"has 17 rows, and the conditioner takes 16"):
                await engine.infer(CONDITIONER, tiny_inputs(SPEC, "conditioner", 17))
            assert await engine.statistics() == {CONDITIONER: 0, DENOISER: 43}
            await engine.close()

        without_hanging(run())

    def test_several_generators(self, tmp_path: Path) -> None:
        async def run() -> None:
            root = tiny_repository(tmp_path / "model_repo", SPEC, OTHER)
            engine = LocalEngine(root, threads=1)
            assert list((await engine.models()).items()) == [("tiny", SPEC), ("other", OTHER)]
            shapes = {}
            for spec in (SPEC, OTHER):
                inputs = tiny_inputs(spec, "conditioner", 1)
                shapes[spec.name] = (await engine.infer(spec.key("conditioner"), inputs))["context"].shape
                assert await engine.instances(spec.key("denoiser")) == 1
            assert shapes == {"tiny": (1, 3, 5), "other": (1, 3, 6)}
            await engine.close()
            serve_only(root, ["other"])
            for chosen in (LocalEngine(root), LocalEngine(root, ["tiny"])):
                assert len(await chosen.models()) == 1
                await chosen.close()

        without_hanging(run())

    def test_a_graph_that_nobody_has(self, engine: LocalEngine) -> None:
        async def run() -> None:
            for key in ("denoiser", "other.denoiser", "tiny.decoder"):
                with pytest.raises(ModelUnavailable, match=key):
                    await engine.infer(key, rows(1))
                with pytest.raises(ModelUnavailable, match=key):
                    await engine.instances(key)
            await engine.close()

        without_hanging(run())

    def test_missing_and_broken_graphs(self, tmp_path: Path) -> None:
        root = tmp_path / "model_repo"
        with pytest.raises(MissingDependency, match="choreo export"):
            LocalEngine(root)
        tiny_repository(root)
        with pytest.raises(MissingDependency, match=r"no generator other .*choreo export"):
            LocalEngine(root, ["other"])
        graph = root / DENOISER / "1" / "model.onnx"
        graph.write_bytes(b"broken")
        with pytest.raises(InvalidArtifact):
            LocalEngine(root)
        graph.unlink()
        with pytest.raises(MissingDependency, match="choreo export"):
            LocalEngine(root)
        serve_only(root, [])
        with pytest.raises(MissingDependency, match="serves no generator"):
            LocalEngine(root)

    def test_a_deadline_ends_the_run(self, engine: LocalEngine) -> None:
        async def run() -> None:
            with pytest.raises(DeadlineExceeded):
                await engine.infer(DENOISER, rows(1), deadline=time.monotonic() - 1)
            with pytest.raises(DeadlineExceeded):
                await engine.infer(DENOISER, rows(1, t=SLOW), deadline=time.monotonic() + 0.1)
            # The thread is free again: the run was ended, not only abandoned.
            began = time.monotonic()
            await engine.infer(DENOISER, rows(1))
            assert time.monotonic() - began < 5
            await engine.close()

        without_hanging(run())

    def test_a_cancelled_call_ends_the_run(self, engine: LocalEngine) -> None:
        async def run() -> None:
            calls = [asyncio.create_task(engine.infer(DENOISER, rows(1, t=SLOW))) for _ in range(2)]
            await asyncio.sleep(0)
            for call in calls:
                call.cancel()
            assert all(
                isinstance(r, asyncio.CancelledError) for r in await asyncio.gather(*calls, return_exceptions=True)
            )
            await engine.infer(DENOISER, rows(1))
            assert (await engine.statistics())[DENOISER] == 1
            await engine.close()

        without_hanging(run())

    def test_nothing_works_after_close(self, engine: LocalEngine) -> None:
        async def run() -> None:
            await engine.close()
            await engine.close()
            with pytest.raises(BackendUnavailable):
                await engine.infer(DENOISER, rows(1))

        without_hanging(run())

    def test_nan_is_withheld(self, engine: LocalEngine) -> None:
        async def run() -> None:
            with pytest.raises(NonFiniteOutput):
                await engine.infer(DENOISER, rows(2) | {"x": np.full((2, 8, 4), -1, np.float32)})
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
    def test_wrong_inputs_are_named(self, engine: LocalEngine, changes: dict[str, NDArray], field: str) -> None:
        async def run() -> None:
            with pytest.raises(InvalidInput) as caught:
                await engine.infer(DENOISER, rows(2) | changes)
            assert caught.value.field == field
            inputs = rows(2)
            del inputs["prior"]
            with pytest.raises(InvalidInput, match="prior"):
                await engine.infer(DENOISER, inputs)
            await engine.close()

        without_hanging(run())


Infer = Callable[[Any, Any], Awaitable[Any]]


class FakeTriton(service_pb2_grpc.GRPCInferenceServiceServicer):
    """Speaks Triton's protocol; what an inference does is a function, by default the tiny denoiser.

    Attributes:
        specs: generators that it has, whole.
        hidden: models of them that are not loaded.
        foreign: models of other programs.
        indexed: how often it was asked for its models.
    """

    def __init__(self, *specs: GeneratorSpec, infer: Infer | None = None, instances: int = 1) -> None:
        self.specs, self.instances = specs or (SPEC,), instances
        self.infer = infer or self.denoise
        self.hidden: set[str] = set()
        self.foreign: set[str] = set()
        self.batches: list[int] = []
        self.indexed = 0

    async def RepositoryIndex(self, request: Any, context: Any) -> Any:
        self.indexed += 1
        response = service_pb2.RepositoryIndexResponse()
        keys = {spec.key(graph.name) for spec in self.specs for graph in spec.graphs}
        for key in sorted(keys | self.foreign):
            response.models.add(name=key, version="1", state="UNAVAILABLE" if key in self.hidden else "READY")
        return response

    async def ModelConfig(self, request: Any, context: Any) -> Any:
        config = model_config_pb2.ModelConfig(name=request.name, max_batch_size=32)
        if request.name not in self.foreign:
            spec = next(spec for spec in self.specs if request.name.startswith(f"{spec.name}."))
            config.parameters["choreo"].string_value = spec.model_dump_json()
        config.instance_group.add(count=self.instances)
        return service_pb2.ModelConfigResponse(config=config)

    async def ModelStatistics(self, request: Any, context: Any) -> Any:
        counts = {"name": DENOISER, "inference_count": sum(self.batches), "execution_count": len(self.batches)}
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
    def test_a_call_is_one_request_and_its_rows_are_counted(self) -> None:
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

    def test_instances_are_those_of_all_servers(self) -> None:
        async def run() -> None:
            async with engine_over(FakeTriton(instances=3), FakeTriton(instances=3)) as engine:
                assert await engine.instances(DENOISER) == 6

        without_hanging(run())

    def test_models_are_whole_generators_with_the_default_one_first(self) -> None:
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

    def test_the_list_of_models_is_believed_for_a_while_or_until_it_is_forgotten(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
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

    def test_a_list_that_was_on_its_way_when_models_changed_is_not_believed(self) -> None:
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

    def test_a_model_that_came_later_is_asked_for_at_once(self) -> None:
        async def run() -> None:
            triton = FakeTriton(OTHER)
            async with engine_over(triton) as engine:
                assert list(await engine.models()) == ["other"]
                triton.specs = (OTHER, SPEC)
                with pytest.raises(ModelUnavailable, match="nobody is not served; there are other"):
                    await engine.infer("nobody.denoiser", rows(1))
                assert (await engine.infer(DENOISER, rows(1)))["x0"].shape == (1, 8, 4)

        without_hanging(run())

    def test_a_model_that_was_unloaded_is_named_and_not_asked_for_again(self) -> None:
        async def run() -> None:
            triton = FakeTriton()
            gone = f"Request for unknown model: '{DENOISER}' is not found"
            triton.infer = failing(grpc.StatusCode.UNAVAILABLE, gone, times=1)(triton)
            async with engine_over(triton) as engine:
                with pytest.raises(ModelUnavailable, match=DENOISER):
                    await engine.infer(DENOISER, rows(1))

        without_hanging(run())

    def test_it_knows_when_a_server_answered_last(self) -> None:
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
    def test_what_does_not_heal_is_tried_once(self, code: grpc.StatusCode, error: type[Exception]) -> None:
        async def run() -> None:
            triton = FakeTriton()
            triton.infer = failing(code, times=1)(triton)
            async with engine_over(triton) as engine:
                with pytest.raises(error):
                    await engine.infer(DENOISER, rows(1))

        without_hanging(run())

    def test_retries_end_with_the_deadline(self) -> None:
        async def run() -> None:
            triton = FakeTriton()
            triton.infer = failing(grpc.StatusCode.UNAVAILABLE)(triton)
            async with engine_over(triton, first_delay_s=0.2, rounds=1000) as engine:
                began = time.monotonic()
                with pytest.raises(BackendUnavailable):
                    await engine.infer(DENOISER, rows(1), deadline=began + 0.5)
                assert time.monotonic() - began < 0.5

        without_hanging(run())

    def test_a_server_that_does_not_answer(self) -> None:
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

    def test_cancelling_the_call_cancels_the_rpc(self) -> None:
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

    def test_several_servers_share_the_work_and_replace_each_other(self) -> None:
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

    def test_no_server_at_all(self) -> None:
        async def run() -> None:
            engine = TritonEngine(["127.0.0.1:1"], rounds=2, first_delay_s=0.001)
            with pytest.raises(BackendUnavailable, match=r"127\.0\.0\.1:1"):
                await engine.models()
            await engine.close()

        without_hanging(run())
        with pytest.raises(InvalidInput):
            TritonEngine([])

    def test_servers_with_different_models_are_not_mixed(self) -> None:
        async def run() -> None:
            other = FakeTriton(tiny_spec(std=(2.0,) * 4))
            async with engine_over(FakeTriton(), other) as engine:
                results = [engine.infer(DENOISER, rows(1)) for _ in range(4)]
                errors = [r for r in await asyncio.gather(*results, return_exceptions=True) if isinstance(r, Exception)]
                assert [type(e) for e in errors] == [InvalidArtifact] * 2

        without_hanging(run())

    def test_answers_that_cannot_be_used(self) -> None:
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

    def test_nothing_works_after_close(self) -> None:
        async def run() -> None:
            async with engine_over(FakeTriton()) as engine:
                await engine.infer(DENOISER, rows(1))
                await engine.close()
                with pytest.raises(BackendUnavailable):
                    await engine.infer(DENOISER, rows(1))

        without_hanging(run())
