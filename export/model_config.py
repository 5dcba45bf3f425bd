"""The Triton model configuration of a graph, derived from the generator's spec."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from pydantic import BaseModel, ConfigDict

from choreo.errors import InvalidArtifact
from choreo.generators.spec import GeneratorSpec, GraphSpec, Shapes
from export import triton_config as triton
from export.engine_options import EngineOptions
from export.triton_config import TritonModelConfig

SPEC_PARAMETER: Final = "choreo"
"""The parameter of a model's configuration that holds the `GeneratorSpec` as JSON."""
GRAPH_PARAMETER: Final = "choreo_graph"
"""The one that holds the graph's name within the generator."""
CUDA_GRAPH_ROWS: Final = (1, 2, 4, 8, 16, 32)
"""Batch sizes with a captured CUDA graph; those above the graph's largest call are left out."""
TENSORRT_CACHE: Final = "/var/cache/choreo/tensorrt"
"""Folder on the serving machine where ONNX Runtime keeps the engines it builds."""
TENSORRT_WORKSPACE_BYTES: Final = 2 << 30


class Profile(StrEnum):
    """What runs the graphs: ONNX Runtime in the Python backend, a TensorRT plan, or ONNX Runtime with TensorRT."""

    CPU = "cpu"
    GPU_PLAN = "gpu-plan"
    GPU_ORT = "gpu-ort"


class RepositorySettings(BaseModel):
    """Choices about how graphs are served; nothing here changes what they compute."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    engine: EngineOptions = EngineOptions()
    """Of graphs that are evaluated at every step, on the CPU; the others keep the defaults with one instance."""


def model_config(
    spec: GeneratorSpec, graph: GraphSpec, profile: Profile, settings: RepositorySettings
) -> TritonModelConfig:
    """The configuration under which Triton serves a graph."""
    zeros = {name: triton.WarmupInput(dims=dims) for name, dims in graph.input_shapes.items()}
    warm = tuple(
        triton.ModelWarmup(name=f"zeros-{size}", batch_size=size, inputs=zeros) for size in sorted({1, graph.max_rows})
    )
    parameters = {SPEC_PARAMETER: spec.model_dump_json(), GRAPH_PARAMETER: graph.name}
    group = triton.InstanceGroup(kind="GPU")
    if profile is Profile.CPU:
        engine = settings.engine if graph.per_step else EngineOptions(instances=1)
        parameters |= engine.parameters()
        # Where the number is the machine's to decide, the server's machine does (`export.native.backend.link_model`);
        # any other Triton has one instance, which uses all cores.
        group = triton.InstanceGroup(kind="CPU", count=engine.instances or 1)
    return TritonModelConfig(
        name=spec.key(graph.name),
        backend={Profile.CPU: "python", Profile.GPU_PLAN: "", Profile.GPU_ORT: "onnxruntime"}[profile],
        platform="tensorrt_plan" if profile is Profile.GPU_PLAN else "",
        default_model_filename="" if profile is Profile.CPU else graph_file(profile),
        max_batch_size=graph.max_rows,
        inputs=tuple(triton.TensorConfig(name=name, dims=dims) for name, dims in graph.input_shapes.items()),
        outputs=tuple(triton.TensorConfig(name=name, dims=dims) for name, dims in graph.output_shapes.items()),
        # No queue delay, which every step of every request would pay, and no bound of the queue: with one, Triton 2.51
        # stalls small bursts by 500 ms. The ingress bounds what is admitted.
        dynamic_batching=triton.DynamicBatching(),
        instance_groups=(group,),
        optimization=_optimization(spec, graph, profile),
        parameters=parameters,
        warmup=warm,
    )


def graph_file(profile: Profile) -> str:
    """File name of the graph in its version folder."""
    return "model.plan" if profile is Profile.GPU_PLAN else "model.onnx"


def spec_of(parameters: Mapping[str, str], model: str) -> GeneratorSpec:
    """The contract in the parameters of a Triton model's configuration.

    Raises:
        InvalidArtifact: it is missing or broken.
    """
    text = parameters.get(SPEC_PARAMETER)
    if text is None:
        raise InvalidArtifact(f"the configuration of {model!r} has no parameter {SPEC_PARAMETER!r}")
    try:
        return GeneratorSpec.model_validate_json(text)
    except ValueError as error:
        raise InvalidArtifact(f"the spec in the configuration of {model!r} is broken: {error}") from error


def _optimization(spec: GeneratorSpec, graph: GraphSpec, profile: Profile) -> triton.Optimization | None:
    inputs = graph.input_shapes
    if profile is Profile.GPU_PLAN:
        rows = (size for size in CUDA_GRAPH_ROWS if size <= graph.max_rows)
        captured = tuple(triton.GraphSpec(batch_size=size, inputs=inputs) for size in rows)
        return triton.Optimization(cuda=triton.Cuda(graphs=True, graph_spec=captured))
    if profile is Profile.GPU_ORT:
        cache = f"{TENSORRT_CACHE}/{spec.key(graph.name)}"
        parameters = {
            "max_workspace_size_bytes": str(TENSORRT_WORKSPACE_BYTES),
            "trt_engine_cache_enable": "true",
            "trt_engine_cache_path": cache,
            "trt_timing_cache_enable": "true",
            "trt_timing_cache_path": cache,
            "trt_profile_min_shapes": _profile_shapes(inputs, 1),
            "trt_profile_opt_shapes": _profile_shapes(inputs, max(1, graph.max_rows // 2)),
            "trt_profile_max_shapes": _profile_shapes(inputs, graph.max_rows),
        }
        return triton.Optimization(gpu_accelerators=(triton.Accelerator(name="tensorrt", parameters=parameters),))
    return None


def _profile_shapes(inputs: Shapes, batch: int) -> str:
    return ",".join(f"{name}:{'x'.join(map(str, (batch, *dims)))}" for name, dims in inputs.items())
