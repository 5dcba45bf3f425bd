"""Triton model configurations as typed objects, and their `config.pbtxt` text.

The text is written and read by Triton's own protobuf message, so a misspelt field cannot reach a server. Only what
`export.repository` writes can be expressed; `parse` refuses everything else, because dropping a field silently would
change how a model is served. `parse(render(config)) == config`.
"""

from typing import Any, Literal, Self

from google.protobuf import text_format  # type: ignore[import-untyped]
from pydantic import BaseModel, ConfigDict, Field, model_validator
from tritonclient.grpc import model_config_pb2

from choreo.errors import InvalidArtifact

DataType = Literal["FP32"]
"""Triton's tensor types without their `TYPE_`. Everything is float32 on the wire."""

DeviceKind = Literal["CPU", "GPU"]
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


class DynamicBatching(_Part):
    """The dynamic batcher: it sends what is waiting without delay, up to the maximum batch size."""


class InstanceGroup(_Part):
    """Instances of a model on one kind of device."""

    kind: DeviceKind
    count: int = Field(default=1, ge=0)


class WarmupInput(_Part):
    """One input of a warm-up request: zeros of this shape."""

    dims: Dims = Field(min_length=1)


class ModelWarmup(_Part):
    """A request that must succeed before the model is ready."""

    name: str = Field(min_length=1)
    batch_size: int = Field(ge=0, lt=2**32)
    inputs: dict[str, WarmupInput] = Field(min_length=1)


class GraphSpec(_Part):
    """One CUDA graph to capture: a batch size and the input shapes without the batch axis."""

    batch_size: int = Field(ge=0)
    inputs: dict[str, Dims] = Field(default_factory=dict)


class Cuda(_Part):
    """CUDA settings of the TensorRT backend."""

    graphs: bool = False
    graph_spec: tuple[GraphSpec, ...] = ()


class Accelerator(_Part):
    """An execution provider of the ONNX Runtime backend and its parameters."""

    name: str = Field(min_length=1)
    parameters: dict[str, str] = Field(default_factory=dict)


class Optimization(_Part):
    """Settings that change the speed and not the results."""

    cuda: Cuda | None = None
    gpu_accelerators: tuple[Accelerator, ...] = ()


class TritonModelConfig(_Part):
    """The configuration of one model. Exactly one of `backend` and `platform` names what runs it."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    backend: str = ""
    platform: str = ""
    max_batch_size: int = Field(default=0, ge=0, lt=2**31)
    inputs: tuple[TensorConfig, ...]
    outputs: tuple[TensorConfig, ...]
    optimization: Optimization | None = None
    dynamic_batching: DynamicBatching | None = None
    instance_groups: tuple[InstanceGroup, ...] = ()
    default_model_filename: str = ""
    parameters: dict[str, str] = Field(default_factory=dict)
    warmup: tuple[ModelWarmup, ...] = ()

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
        InvalidArtifact: the text is not a model configuration, or has fields or values that cannot be expressed here.
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
        instance_group=[
            model_config_pb2.ModelInstanceGroup(kind=f"KIND_{g.kind}", count=g.count) for g in config.instance_groups
        ],
        model_warmup=[_warmup(w) for w in config.warmup],
        parameters={k: model_config_pb2.ModelParameter(string_value=v) for k, v in config.parameters.items()},
    )
    if config.optimization is not None:
        message.optimization.CopyFrom(_optimization(config.optimization))
    if config.dynamic_batching is not None:
        message.dynamic_batching.SetInParent()
    return message


def _tensor(kind: Any, tensor: TensorConfig) -> Any:
    return kind(name=tensor.name, data_type=f"TYPE_{tensor.dtype}", dims=tensor.dims)


def _warmup(warmup: ModelWarmup) -> Any:
    message = model_config_pb2.ModelWarmup(name=warmup.name, batch_size=warmup.batch_size)
    for name, data in warmup.inputs.items():
        entry = message.inputs[name]
        entry.data_type = model_config_pb2.TYPE_FP32
        entry.dims.extend(data.dims)
        entry.zero_data = True
    return message


def _optimization(optimization: Optimization) -> Any:
    message = model_config_pb2.ModelOptimizationPolicy()
    if optimization.cuda is not None:
        message.cuda.SetInParent()
        message.cuda.graphs = optimization.cuda.graphs
        for spec in optimization.cuda.graph_spec:
            entry = message.cuda.graph_spec.add(batch_size=spec.batch_size)
            for name, dims in spec.inputs.items():
                entry.input[name].dim.extend(dims)
    for accelerator in optimization.gpu_accelerators:
        message.execution_accelerators.gpu_execution_accelerator.add(
            name=accelerator.name, parameters=accelerator.parameters
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
        optimization=_read_optimization(message.optimization) if message.HasField("optimization") else None,
        dynamic_batching=DynamicBatching() if message.HasField("dynamic_batching") else None,
        instance_groups=tuple(
            InstanceGroup.model_validate({"kind": _enum_name(g, "kind", "KIND_"), "count": g.count})
            for g in message.instance_group
        ),
        default_model_filename=message.default_model_filename,
        parameters={k: v.string_value for k, v in message.parameters.items()},
        warmup=tuple(_read_warmup(w) for w in message.model_warmup),
    )


def _enum_name(message: Any, field: str, prefix: str) -> str:
    """The name of an enum field's value without its prefix, e.g. `FP32`."""
    values = message.DESCRIPTOR.fields_by_name[field].enum_type.values_by_number
    return str(values[getattr(message, field)].name).removeprefix(prefix)


def _read_tensor(message: Any) -> TensorConfig:
    return TensorConfig.model_validate(
        {"name": message.name, "dtype": _enum_name(message, "data_type", "TYPE_"), "dims": tuple(message.dims)}
    )


def _read_warmup(message: Any) -> ModelWarmup:
    inputs = {name: WarmupInput(dims=tuple(entry.dims)) for name, entry in message.inputs.items()}
    return ModelWarmup(name=message.name, batch_size=message.batch_size, inputs=inputs)


def _read_optimization(message: Any) -> Optimization:
    cuda = None
    if message.HasField("cuda"):
        specs = (
            GraphSpec(batch_size=s.batch_size, inputs={k: tuple(v.dim) for k, v in s.input.items()})
            for s in message.cuda.graph_spec
        )
        cuda = Cuda(graphs=message.cuda.graphs, graph_spec=tuple(specs))
    accelerators = message.execution_accelerators.gpu_execution_accelerator
    return Optimization(
        cuda=cuda,
        gpu_accelerators=tuple(Accelerator(name=a.name, parameters=dict(a.parameters)) for a in accelerators),
    )
