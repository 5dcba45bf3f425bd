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
from choreo.generators.spec import ModelSpec
from export.native.backend import BACKEND
from export.repository import GRAPHS, GraphName, graph_outputs, spec_of
from serving.engines.channel import channel_options
from serving.engines.shared_region import NotShared, SharedRegion
from serving.engines.tensors import Tensors

UNKNOWN_REGION: Final = "Unable to find shared memory region"
"""What a server says of a region that was not registered with it."""
FORGET_S: Final = 5.0
INFER: Final = "/inference.GRPCInferenceService/ModelInfer"
"""Name of the call in the inference protocol (KServe, version 2)."""
_RETRIED: Final = frozenset(f"StatusCode.{name}" for name in ("UNAVAILABLE", "RESOURCE_EXHAUSTED", "CANCELLED"))


@dataclass(frozen=True)
class Contract:
    """What a server says of its models: the spec, the rows it takes at once per graph, and how often at a time."""

    spec: ModelSpec
    max_rows: dict[str, int]
    instances: dict[str, int]


class Connection:
    """One server. Methods raise tritonclient's exceptions, except where a server contradicts its contract."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._client: Any = None
        self._known: Contract | None = None
        self._registered: set[str] = set()
        self._channel: Any = None
        self._send: Any = None
        self._shared_calls: dict[tuple[str, str, str, int, int], bytes] = {}

    async def contract(self, seconds: float) -> Contract:
        """Read the models' configurations, once.

        Raises:
            InvalidArtifact: they carry no contract, or not the same.
        """
        if self._known is None:
            configs = {g: (await self._connected().get_model_config(g, client_timeout=seconds)).config for g in GRAPHS}
            specs = [spec_of({k: v.string_value for k, v in c.parameters.items()}, g) for g, c in configs.items()]
            if any(spec != specs[0] for spec in specs):
                raise InvalidArtifact(f"the models of Triton at {self.url} belong to different generators")
            max_rows: dict[str, int] = {g: max(1, c.max_batch_size) for g, c in configs.items()}
            self._known = Contract(specs[0], max_rows, {g: _instances(c) for g, c in configs.items()})
        return self._known

    async def infer(self, graph: GraphName, tensors: Tensors, expected: Contract, seconds: float) -> Tensors:
        """One request.

        Raises:
            InvalidArtifact: this server has other models than the one that was asked first.
        """
        await self._check(expected, seconds)
        inputs = []
        for name, values in tensors.items():
            inputs.append(InferInput(name, values.shape, "FP32"))
            inputs[-1].set_data_from_numpy(values)
        result = await self._connected().infer(graph, inputs, client_timeout=seconds)
        # The client's arrays are read-only views of the message; every other engine's can be written to.
        return {name: np.array(result.as_numpy(name), np.float32) for name in graph_outputs(expected.spec, graph)}

    async def infer_shared(
        self,
        graph: GraphName,
        inputs: SharedRegion,
        outputs: SharedRegion,
        rows: range,
        expected: Contract,
        seconds: float,
    ) -> None:
        """One request on some rows of a region, answered into the same rows of another.

        Raises:
            InvalidArtifact: this server has other models than the one that was asked first.
            NotShared: this server cannot map the regions.
        """
        await self._check(expected, seconds)
        key = inputs.name, outputs.name, graph, rows.start, rows.stop
        if key not in self._shared_calls:  # the same at every step of everybody
            self._shared_calls[key] = _shared_call(graph, inputs, outputs, rows)
        for attempt in (1, 2):
            for region in (inputs, outputs):
                await self._register(region, seconds)
            try:
                # What comes of it is in the region; the client would make and read messages at every step.
                await self._sender()(self._shared_calls[key], timeout=seconds)
                return
            except grpc.aio.AioRpcError as error:
                if attempt == 2 or UNKNOWN_REGION not in str(error.details()):
                    raise InferenceServerException(error.details(), str(error.code())) from error
                self._registered.clear()  # the server was restarted, and has forgotten them

    async def forget(self, region: SharedRegion) -> None:
        """Let go of a region; a server that does not answer will have forgotten it by itself."""
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

    async def _check(self, expected: Contract, seconds: float) -> None:
        if await self.contract(seconds) != expected:
            raise InvalidArtifact(f"Triton at {self.url} serves other models than the other servers")

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


def _instances(config: Any) -> int:
    """Calls of a model that are computed beside each other."""
    # Calls of the compiled engine are each shared out over all cores.
    return 1 if config.backend == BACKEND else max(1, sum(group.count for group in config.instance_group))


def _shared_call(graph: GraphName, inputs: SharedRegion, outputs: SharedRegion, rows: range) -> bytes:
    """The message that says where a server finds some rows of a region, and where it puts what comes of them."""
    message = service_pb2.ModelInferRequest(model_name=graph)
    for name, values in inputs.arrays.items():
        tensor = message.inputs.add(name=name, datatype="FP32", shape=(len(rows), *values.shape[1:]))
        _place(tensor, inputs, name, rows)
    for name in outputs.arrays:
        _place(message.outputs.add(name=name), outputs, name, rows)
    return bytes(message.SerializeToString())


def _place(tensor: Any, region: SharedRegion, name: str, rows: range) -> None:
    offset, size = region.place(name, rows)
    tensor.parameters["shared_memory_region"].string_param = region.name
    tensor.parameters["shared_memory_byte_size"].int64_param = size
    tensor.parameters["shared_memory_offset"].int64_param = offset


def may_heal(error: InferenceServerException) -> bool:
    """Whether the same request may succeed soon: the server is full or down, or its backend process is restarted."""
    return error.status() in _RETRIED or (
        error.status() == "StatusCode.INTERNAL" and "Stub process" in str(error.message())
    )


def failure(error: InferenceServerException, text: str) -> Exception:
    """What a failure that a retry would not heal is to the caller."""
    if error.status() in ("StatusCode.INVALID_ARGUMENT", "StatusCode.NOT_FOUND"):
        return InvalidArtifact(f"the model repository of a Triton server does not fit its contract: {text}")
    return BackendUnavailable(f"a Triton server failed: {text}")


def status_line(error: InferenceServerException) -> str:
    """The beginning of what a server says went wrong."""
    return str(error.message() or type(error).__name__).splitlines()[0][:200]
