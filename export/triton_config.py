"""Triton model configurations as typed objects, and their `config.pbtxt` text.

The text is written and read by Triton's own protobuf message, so a misspelt field cannot reach a server, and
`parse(render(config)) == config` for everything that can be expressed here.
"""

from typing import Any, Literal, Self

from google.protobuf import text_format  # type: ignore[import-untyped]
from pydantic import BaseModel, ConfigDict, Field, model_validator
from tritonclient.grpc import model_config_pb2

from choreo.errors import InvalidArtifact

DataType = Literal[
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64", "STRING",
    "BF16",
]  # fmt: skip
"""Triton's tensor types without their `TYPE_`."""

DeviceKind = Literal["AUTO", "CPU", "GPU", "MODEL"]
"""Where instances run, without Triton's `KIND_`."""

Dims = tuple[int, ...]
"""A shape without its batch axis; -1 is any size."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TensorConfig(_Part):
    """One input or output: its name, element type and shape without the batch axis."""

    name: str = Field(min_length=1)
    dtype: DataType = "FP32"
    dims: Dims = Field(min_length=1)


class QueuePolicy(_Part):
    """How long a queue may get and what happens to requests that wait too long (0 is no limit)."""

    timeout_action: Literal["REJECT", "DELAY"] = "REJECT"
    default_timeout_microseconds: int = Field(default=0, ge=0, lt=2**64)
    allow_timeout_override: bool = False
    max_queue_size: int = Field(default=0, ge=0, lt=2**32)


class DynamicBatching(_Part):
    """The dynamic batcher; with no delay it sends whatever waits, up to the maximum batch size."""

    preferred_batch_size: tuple[int, ...] = ()
    max_queue_delay_microseconds: int = Field(default=0, ge=0, lt=2**64)
    default_queue_policy: QueuePolicy | None = None


class InstanceGroup(_Part):
    """Instances of a model on one kind of device; a count of 0 leaves it to Triton."""

    kind: DeviceKind
    count: int = Field(default=1, ge=0)
    gpus: tuple[int, ...] = ()


class WarmupInput(_Part):
    """One synthetic input of a warm-up request."""

    dtype: DataType = "FP32"
    dims: Dims = Field(min_length=1)
    data: Literal["zero", "random"] = "zero"


class ModelWarmup(_Part):
    """A request that must succeed before the model is ready; a count of 0 means once."""

    name: str = Field(min_length=1)
    batch_size: int = Field(ge=0, lt=2**32)
    inputs: dict[str, WarmupInput] = Field(min_length=1)
    count: int = Field(default=0, ge=0, lt=2**32)


class GraphSpec(_Part):
    """One CUDA graph to capture: a batch size and the input shapes without the batch axis."""

    batch_size: int = Field(ge=0)
    inputs: dict[str, Dims] = Field(default_factory=dict)


class Cuda(_Part):
    """CUDA settings of the TensorRT backend."""

    graphs: bool = False
    busy_wait_events: bool = False
    output_copy_stream: bool = False
    graph_spec: tuple[GraphSpec, ...] = ()


class Accelerator(_Part):
    """An execution provider of the ONNX Runtime backend and its parameters."""

    name: str = Field(min_length=1)
    parameters: dict[str, str] = Field(default_factory=dict)


class Optimization(_Part):
    """Settings that change speed and not results."""

    cuda: Cuda | None = None
    gpu_accelerators: tuple[Accelerator, ...] = ()
    cpu_accelerators: tuple[Accelerator, ...] = ()


class VersionPolicy(_Part):
    """Which version folders are served: the newest few, all, or some by number."""

    kind: Literal["latest", "all", "specific"] = "latest"
    num_versions: int = Field(default=1, ge=1, lt=2**32)
    versions: tuple[int, ...] = ()

    @model_validator(mode="after")
    def _numbers_belong_to_the_kind(self) -> Self:
        if self.kind != "latest" and self.num_versions != 1:
            raise ValueError("num_versions belongs to the policy 'latest'")
        if (self.kind == "specific") != bool(self.versions):
            raise ValueError("versions are given for the policy 'specific' and for no other")
        return self


class TritonModelConfig(_Part):
    """Everything this program says to Triton about one model. The response cache is off unless switched on."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    backend: str = ""
    platform: str = ""
    max_batch_size: int = Field(default=0, ge=0, lt=2**31)
    inputs: tuple[TensorConfig, ...]
    outputs: tuple[TensorConfig, ...]
    version_policy: VersionPolicy | None = None
    optimization: Optimization | None = None
    dynamic_batching: DynamicBatching | None = None
    instance_groups: tuple[InstanceGroup, ...] = ()
    default_model_filename: str = ""
    parameters: dict[str, str] = Field(default_factory=dict)
    warmup: tuple[ModelWarmup, ...] = ()
    response_cache: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if bool(self.backend) == bool(self.platform):
            raise ValueError("exactly one of backend and platform names what runs the model")
        for role, tensors in (("input", self.inputs), ("output", self.outputs)):
            if len({t.name for t in tensors}) != len(tensors):
                raise ValueError(f"two {role}s have the same name")
        if self.dynamic_batching is not None and self.max_batch_size == 0:
            raise ValueError("dynamic batching needs max_batch_size > 0")
        return self


def render(config: TritonModelConfig) -> str:
    """The `config.pbtxt` text of a configuration; the same configuration gives the same bytes."""
    return str(text_format.MessageToString(_to_message(config)))


def parse(text: str) -> TritonModelConfig:
    """Read `config.pbtxt` text.

    Raises:
        InvalidArtifact: the text is not a model configuration, or says something that cannot be expressed here.
    """
    message = model_config_pb2.ModelConfig()
    try:
        text_format.Parse(text, message)
    except text_format.ParseError as error:
        raise InvalidArtifact(f"not a Triton model configuration: {error}") from error
    try:
        config = _from_message(message)
    except ValueError as error:
        raise InvalidArtifact(f"model configuration {message.name!r} cannot be used: {error}") from error
    # What was not understood is not in the round trip; silently dropping a field would change how a model is served.
    if _to_message(config) != message:
        raise InvalidArtifact(f"model configuration {message.name!r} has fields this program does not know")
    return config


def _to_message(config: TritonModelConfig) -> Any:
    message = model_config_pb2.ModelConfig(
        name=config.name,
        backend=config.backend,
        platform=config.platform,
        max_batch_size=config.max_batch_size,
        default_model_filename=config.default_model_filename,
        input=[_tensor(model_config_pb2.ModelInput, t) for t in config.inputs],
        output=[_tensor(model_config_pb2.ModelOutput, t) for t in config.outputs],
        instance_group=[_instance_group(g) for g in config.instance_groups],
        model_warmup=[_warmup(w) for w in config.warmup],
        parameters={k: model_config_pb2.ModelParameter(string_value=v) for k, v in config.parameters.items()},
    )
    if config.version_policy is not None:
        message.version_policy.CopyFrom(_version_policy(config.version_policy))
    if config.optimization is not None:
        message.optimization.CopyFrom(_optimization(config.optimization))
    if config.dynamic_batching is not None:
        message.dynamic_batching.CopyFrom(_dynamic_batching(config.dynamic_batching))
    if config.response_cache:
        message.response_cache.enable = True
    return message


def _tensor(kind: Any, tensor: TensorConfig) -> Any:
    return kind(name=tensor.name, data_type=f"TYPE_{tensor.dtype}", dims=tensor.dims)


def _instance_group(group: InstanceGroup) -> Any:
    return model_config_pb2.ModelInstanceGroup(kind=f"KIND_{group.kind}", count=group.count, gpus=group.gpus)


def _warmup(warmup: ModelWarmup) -> Any:
    message = model_config_pb2.ModelWarmup(name=warmup.name, batch_size=warmup.batch_size, count=warmup.count)
    for name, data in warmup.inputs.items():
        entry = message.inputs[name]
        entry.data_type = getattr(model_config_pb2, f"TYPE_{data.dtype}")
        entry.dims.extend(data.dims)
        setattr(entry, f"{data.data}_data", True)
    return message


def _version_policy(policy: VersionPolicy) -> Any:
    message = model_config_pb2.ModelVersionPolicy()
    if policy.kind == "latest":
        message.latest.num_versions = policy.num_versions
    elif policy.kind == "all":
        message.all.SetInParent()
    else:
        message.specific.versions.extend(policy.versions)
    return message


def _optimization(optimization: Optimization) -> Any:
    message = model_config_pb2.ModelOptimizationPolicy()
    if optimization.cuda is not None:
        message.cuda.SetInParent()
        message.cuda.graphs = optimization.cuda.graphs
        message.cuda.busy_wait_events = optimization.cuda.busy_wait_events
        message.cuda.output_copy_stream = optimization.cuda.output_copy_stream
        for spec in optimization.cuda.graph_spec:
            entry = message.cuda.graph_spec.add(batch_size=spec.batch_size)
            for name, dims in spec.inputs.items():
                entry.input[name].dim.extend(dims)
    accelerators = message.execution_accelerators
    for accelerator in optimization.gpu_accelerators:
        accelerators.gpu_execution_accelerator.add(name=accelerator.name, parameters=accelerator.parameters)
    for accelerator in optimization.cpu_accelerators:
        accelerators.cpu_execution_accelerator.add(name=accelerator.name, parameters=accelerator.parameters)
    return message


def _dynamic_batching(batching: DynamicBatching) -> Any:
    message = model_config_pb2.ModelDynamicBatching(
        preferred_batch_size=batching.preferred_batch_size,
        max_queue_delay_microseconds=batching.max_queue_delay_microseconds,
    )
    if batching.default_queue_policy is not None:
        message.default_queue_policy.CopyFrom(
            model_config_pb2.ModelQueuePolicy(**batching.default_queue_policy.model_dump())
        )
    return message


def _from_message(message: Any) -> TritonModelConfig:
    return TritonModelConfig(
        name=message.name,
        backend=message.backend,
        platform=message.platform,
        max_batch_size=message.max_batch_size,
        inputs=tuple(_read_tensor(t) for t in message.input),
        outputs=tuple(_read_tensor(t) for t in message.output),
        version_policy=_read_version_policy(message.version_policy) if message.HasField("version_policy") else None,
        optimization=_read_optimization(message.optimization) if message.HasField("optimization") else None,
        dynamic_batching=_read_batching(message.dynamic_batching) if message.HasField("dynamic_batching") else None,
        instance_groups=tuple(
            InstanceGroup.model_validate(
                {"kind": _enum_name(g, "kind", "KIND_"), "count": g.count, "gpus": tuple(g.gpus)}
            )
            for g in message.instance_group
        ),
        default_model_filename=message.default_model_filename,
        parameters={k: v.string_value for k, v in message.parameters.items()},
        warmup=tuple(_read_warmup(w) for w in message.model_warmup),
        response_cache=message.response_cache.enable,
    )


def _enum_name(message: Any, field: str, prefix: str = "") -> str:
    """The name of an enum field's value, e.g. `FP32`."""
    values = message.DESCRIPTOR.fields_by_name[field].enum_type.values_by_number
    return str(values[getattr(message, field)].name).removeprefix(prefix)


def _read_tensor(message: Any) -> TensorConfig:
    return TensorConfig.model_validate(
        {"name": message.name, "dtype": _enum_name(message, "data_type", "TYPE_"), "dims": tuple(message.dims)}
    )


def _read_warmup(message: Any) -> ModelWarmup:
    inputs = {
        name: WarmupInput.model_validate(
            {
                "dtype": _enum_name(entry, "data_type", "TYPE_"),
                "dims": tuple(entry.dims),
                "data": str(entry.WhichOneof("input_data_type")).removesuffix("_data"),
            }
        )
        for name, entry in message.inputs.items()
    }
    return ModelWarmup(name=message.name, batch_size=message.batch_size, count=message.count, inputs=inputs)


def _read_version_policy(message: Any) -> VersionPolicy:
    kind = message.WhichOneof("policy_choice")
    if kind == "latest":
        return VersionPolicy(kind="latest", num_versions=message.latest.num_versions)
    return VersionPolicy.model_validate({"kind": kind, "versions": tuple(message.specific.versions)})


def _read_optimization(message: Any) -> Optimization:
    cuda = None
    if message.HasField("cuda"):
        cuda = Cuda(
            graphs=message.cuda.graphs,
            busy_wait_events=message.cuda.busy_wait_events,
            output_copy_stream=message.cuda.output_copy_stream,
            graph_spec=tuple(
                GraphSpec(batch_size=s.batch_size, inputs={k: tuple(v.dim) for k, v in s.input.items()})
                for s in message.cuda.graph_spec
            ),
        )
    accelerators = message.execution_accelerators
    return Optimization(
        cuda=cuda,
        gpu_accelerators=tuple(_read_accelerator(a) for a in accelerators.gpu_execution_accelerator),
        cpu_accelerators=tuple(_read_accelerator(a) for a in accelerators.cpu_execution_accelerator),
    )


def _read_accelerator(message: Any) -> Accelerator:
    return Accelerator(name=message.name, parameters=dict(message.parameters))


def _read_batching(message: Any) -> DynamicBatching:
    policy = None
    if message.HasField("default_queue_policy"):
        source = message.default_queue_policy
        policy = QueuePolicy.model_validate(
            {
                "timeout_action": _enum_name(source, "timeout_action"),
                "default_timeout_microseconds": source.default_timeout_microseconds,
                "allow_timeout_override": source.allow_timeout_override,
                "max_queue_size": source.max_queue_size,
            }
        )
    return DynamicBatching(
        preferred_batch_size=tuple(message.preferred_batch_size),
        max_queue_delay_microseconds=message.max_queue_delay_microseconds,
        default_queue_policy=policy,
    )
