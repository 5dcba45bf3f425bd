"""The connection to one Triton server: its contract, inferences, counters, and which of its failures may heal."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import grpc.aio
import numpy as np
from tritonclient.grpc import InferInput, service_pb2
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from choreo.errors import BackendUnavailable, InvalidArtifact
from choreo.generators.base import Tensors
from choreo.generators.spec import GeneratorSpec, GraphSpec
from export.model_config import SPEC_PARAMETER, spec_of
from export.native.backend import BACKEND
from serving.engines.channel import channel_options
from serving.engines.shared_region import NotShared, SharedRegion
from serving.errors import ModelUnavailable

UNKNOWN_MODEL: Final = "unknown model"
"""The beginning of what a server says of a model that is not loaded."""
UNKNOWN_REGION: Final = "Unable to find shared memory region"
"""What a server says of a region that was not registered with it."""
FORGET_S: Final = 5.0
INFER: Final = "/inference.GRPCInferenceService/ModelInfer"
"""Name of the call in the inference protocol (KServe, version 2)."""
_RETRIED: Final = frozenset(f"StatusCode.{name}" for name in ("UNAVAILABLE", "RESOURCE_EXHAUSTED", "CANCELLED"))


@dataclass(frozen=True)
class ServedModel:
    """What a server says of a generator: its contract, and the calls of each graph that it computes at a time."""

    spec: GeneratorSpec
    instances: dict[str, int]


class Connection:
    """One server. Methods raise tritonclient's exceptions, except where a server contradicts its contract."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._client: Any = None
        self._models: dict[str, ServedModel] | None = None
        self._registered: set[str] = set()
        self._channel: Any = None
        self._send: Any = None
        self._shared_calls: dict[tuple[str, str, str, int], bytes] = {}

    async def models(self, seconds: float, refresh: bool = False) -> dict[str, ServedModel]:
        """Generators of which every graph is ready, by name; read once unless `refresh` asks for it.

        Raises:
            InvalidArtifact: a configuration carries a broken contract, or the graphs of a generator disagree on it.
        """
        if self._models is None or refresh:
            client = self._connected()
            index = (await client.get_model_repository_index(client_timeout=seconds)).models
            names = sorted({model.name for model in index if model.state == "READY"})
            configs = {}
            for name in names:
                try:
                    configs[name] = (await client.get_model_config(name, client_timeout=seconds)).config
                except InferenceServerException as error:
                    if UNKNOWN_MODEL not in str(error.message()):  # it was unloaded meanwhile
                        raise
            self._models = _generators(configs, self.url)
        return self._models

    async def infer(
        self, key: str, graph: GraphSpec, tensors: Tensors, expected: GeneratorSpec, seconds: float
    ) -> Tensors:
        """One request.

        Raises:
            InvalidArtifact: this server has another export of the generator than the one that was asked first.
        """
        await self._check(expected, seconds)
        inputs = []
        for name, values in tensors.items():
            inputs.append(InferInput(name, values.shape, "FP32"))
            inputs[-1].set_data_from_numpy(values)
        result = await self._connected().infer(key, inputs, client_timeout=seconds)
        # The client's arrays are read-only views of the message; every other engine's can be written to.
        return {name: np.array(result.as_numpy(name), np.float32) for name in graph.output_shapes}

    async def infer_shared(
        self,
        key: str,
        inputs: SharedRegion,
        outputs: SharedRegion,
        rows: int,
        expected: GeneratorSpec,
        seconds: float,
    ) -> None:
        """One request on the first rows of a region, answered into the same rows of another.

        Raises:
            InvalidArtifact: this server has another export of the generator than the one that was asked first.
            NotShared: this server cannot map the regions.
        """
        await self._check(expected, seconds)
        call = inputs.name, outputs.name, key, rows
        if call not in self._shared_calls:  # the same at every step of all requests
            self._shared_calls[call] = _shared_call(key, inputs, outputs, rows)
        for attempt in (1, 2):
            for region in (inputs, outputs):
                await self._register(region, seconds)
            try:
                # The outputs are in the region; the client would make and read messages at every step.
                await self._sender()(self._shared_calls[call], timeout=seconds)
                return
            except grpc.aio.AioRpcError as error:
                if attempt == 2 or UNKNOWN_REGION not in str(error.details()):
                    raise InferenceServerException(error.details(), str(error.code())) from error
                self._registered.clear()  # the server was restarted, and has forgotten them

    async def forget(self, region: SharedRegion) -> None:
        """Unmap a region; a server that does not answer will have forgotten it by itself."""
        self._shared_calls = {key: call for key, call in self._shared_calls.items() if region.name not in key[:2]}
        if region.name in self._registered:
            self._registered.discard(region.name)
            with suppress(InferenceServerException):
                await self._connected().unregister_system_shared_memory(region.name, client_timeout=FORGET_S)

    async def _register(self, region: SharedRegion, seconds: float) -> None:
        if region.name in self._registered:
            return
        try:
            await self._connected().register_system_shared_memory(
                region.name, region.key, region.size, client_timeout=seconds
            )
        except InferenceServerException as error:
            if error.status() in ("StatusCode.INTERNAL", "StatusCode.INVALID_ARGUMENT", "StatusCode.UNIMPLEMENTED"):
                raise NotShared(f"{self.url} says: {status_line(error)}") from error
            if error.status() != "StatusCode.ALREADY_EXISTS":
                raise
        self._registered.add(region.name)

    async def _check(self, expected: GeneratorSpec, seconds: float) -> None:
        for refresh in (False, True):
            served = (await self.models(seconds, refresh)).get(expected.name)
            if served is not None and served.spec == expected:
                return
        raise InvalidArtifact(f"Triton at {self.url} serves another {expected.name} than the other servers, or none")

    async def counts(self, counter: str, seconds: float) -> dict[str, int]:
        """A counter of the server's statistics, by model."""
        stats = (await self._connected().get_inference_statistics(client_timeout=seconds)).model_stats
        return {s.name: int(getattr(s, counter)) for s in stats}

    async def close(self) -> None:
        """Close the connection."""
        (client, channel), self._client, self._channel, self._send = (self._client, self._channel), None, None, None
        for connection in (client, channel):
            if connection is not None:
                await connection.close()

    def _connected(self) -> Any:
        # Not in the constructor: a gRPC channel belongs to the event loop that is running when it is made.
        if self._client is None:
            self._client = InferenceServerClient(self.url, channel_args=channel_options())
        return self._client

    def _sender(self) -> Any:
        """Inference by a message that is bytes already."""
        if self._send is None:
            self._channel = grpc.aio.insecure_channel(self.url, options=channel_options())
            self._send = self._channel.unary_unary(INFER)
        return self._send


def _generators(configs: dict[str, Any], url: str) -> dict[str, ServedModel]:
    """Whole generators among the models of a server; models of other programs are left out."""
    parameters = {model: {k: v.string_value for k, v in config.parameters.items()} for model, config in configs.items()}
    specs = {model: spec_of(given, model) for model, given in parameters.items() if SPEC_PARAMETER in given}
    found = {}
    for name in sorted({spec.name for spec in specs.values()}):
        of = {model: spec for model, spec in specs.items() if spec.name == name}
        spec = next(iter(of.values()))
        if any(other != spec for other in of.values()):
            raise InvalidArtifact(f"the models of {name} on Triton at {url} are of different exports")
        keys = {graph.name: spec.key(graph.name) for graph in spec.graphs}
        if of.keys() >= set(keys.values()):
            found[name] = ServedModel(spec, {graph: _instances(configs[key]) for graph, key in keys.items()})
    return found


def _instances(config: Any) -> int:
    """Calls of a model that are computed at a time."""
    # Calls of the compiled engine are each shared out over all cores.
    return 1 if config.backend == BACKEND else max(1, sum(group.count for group in config.instance_group))


def _shared_call(key: str, inputs: SharedRegion, outputs: SharedRegion, rows: int) -> bytes:
    """The message that says where a server finds the first rows of a region, and where it puts their outputs."""
    message = service_pb2.ModelInferRequest(model_name=key)
    for name, values in inputs.arrays.items():
        tensor = message.inputs.add(name=name, datatype="FP32", shape=(rows, *values.shape[1:]))
        _place(tensor, inputs, name, range(rows))
    for name in outputs.arrays:
        _place(message.outputs.add(name=name), outputs, name, range(rows))
    return bytes(message.SerializeToString())


def _place(tensor: Any, region: SharedRegion, name: str, rows: range) -> None:
    offset, size = region.place(name, rows)
    tensor.parameters["shared_memory_region"].string_param = region.name
    tensor.parameters["shared_memory_byte_size"].int64_param = size
    tensor.parameters["shared_memory_offset"].int64_param = offset


def may_heal(error: InferenceServerException) -> bool:
    """Whether the same request may succeed soon: the server is full or down, or its backend process is restarted."""
    if UNKNOWN_MODEL in str(error.message()):
        return False
    return error.status() in _RETRIED or (
        error.status() == "StatusCode.INTERNAL" and "Stub process" in str(error.message())
    )


def failure(error: InferenceServerException, text: str) -> Exception:
    """The typed error for a failure that a retry would not heal."""
    if UNKNOWN_MODEL in str(error.message()):
        return ModelUnavailable(f"a model was unloaded: {text}")
    if error.status() in ("StatusCode.INVALID_ARGUMENT", "StatusCode.NOT_FOUND"):
        return InvalidArtifact(f"the model repository of a Triton server does not fit its contract: {text}")
    return BackendUnavailable(f"a Triton server failed: {text}")


def status_line(error: InferenceServerException) -> str:
    """The beginning of what a server says went wrong."""
    return str(error.message() or type(error).__name__).splitlines()[0][:200]
