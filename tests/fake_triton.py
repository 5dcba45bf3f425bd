"""A server that speaks Triton's protocol over the tiny generator, and the client of it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import numpy as np
from tiny_engine_calls import DENOISER, SPEC
from tritonclient.grpc import model_config_pb2, service_pb2, service_pb2_grpc

from choreo.generators.spec import GeneratorSpec
from serving.engines.triton import TritonEngine

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
