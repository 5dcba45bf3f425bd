"""The writer and reader of the Triton model repository: `conditioner` and `denoiser`, their configurations and graphs.

A model's folder is built beside its place and swapped in whole, so a crash leaves the old model or the new one. The
same arguments give the same bytes: `config.pbtxt` and `model.py` of the CPU profile can be kept under version control.
"""

import ctypes
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Literal, get_args

import onnx
from pydantic import BaseModel, ConfigDict, Field

from choreo.errors import InvalidArtifact, MissingDependency
from choreo.files import atomic_write
from choreo.generators.spec import ModelSpec
from export.engine_options import EngineOptions
from export.triton_config import (
    Accelerator,
    Cuda,
    DynamicBatching,
    GraphSpec,
    InstanceGroup,
    ModelWarmup,
    Optimization,
    QueuePolicy,
    TensorConfig,
    TritonModelConfig,
    WarmupInput,
    parse,
    render,
)

GraphName = Literal["conditioner", "denoiser"]
"""The two graphs of a generator, which are also the names of their models in Triton."""

GRAPHS: tuple[GraphName, ...] = get_args(GraphName)

CONFIG = "config.pbtxt"

SPEC_PARAMETER = "choreo"
"""The parameter of a model's configuration that holds the `ModelSpec` as JSON."""

Shapes = dict[str, tuple[int, ...]]


class Profile(StrEnum):
    """What runs the graphs: ONNX Runtime in the Python backend, a TensorRT plan, or ONNX Runtime with TensorRT."""

    CPU = "cpu"
    GPU_PLAN = "gpu-plan"
    GPU_ORT = "gpu-ort"


class RepositorySettings(BaseModel):
    """Choices about how the models are served; nothing here changes what they compute."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    conditioner_max_batch: int = Field(default=16, ge=1)
    denoiser_max_batch: int = Field(default=32, ge=1)
    max_queue_size: int = Field(default=0, ge=0)
    """Requests that may wait per model; 0: any number. Whoever sends requests should bound them instead: with a limit
    here, Triton 2.51 does not prefetch and its batcher misses wake-ups, so small bursts wait 500 ms now and then."""
    engine: EngineOptions = EngineOptions()
    """Of the denoiser on the CPU; the conditioner runs once per window and keeps the defaults."""
    cuda_graph_batches: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    """Batch sizes with a captured CUDA graph; larger ones than the maximum batch are left out."""
    tensorrt_cache: str = "/var/cache/choreo/tensorrt"
    """Folder on the serving machine where ONNX Runtime keeps the engines it builds."""
    tensorrt_workspace_bytes: int = Field(default=2 << 30, ge=1)

    def max_batch(self, graph: GraphName) -> int:
        """Rows of the largest batch of a graph."""
        return self.conditioner_max_batch if graph == "conditioner" else self.denoiser_max_batch


def graph_inputs(spec: ModelSpec, graph: GraphName) -> Shapes:
    """Input shapes of a graph without the batch axis."""
    return spec.conditioner_inputs() if graph == "conditioner" else spec.denoiser_inputs()


def graph_outputs(spec: ModelSpec, graph: GraphName) -> Shapes:
    """Output shapes of a graph without the batch axis."""
    return spec.conditioner_outputs() if graph == "conditioner" else spec.denoiser_outputs()


def model_config(
    spec: ModelSpec, graph: GraphName, profile: Profile, settings: RepositorySettings
) -> TritonModelConfig:
    """The configuration under which Triton serves a graph."""
    max_batch = settings.max_batch(graph)
    inputs = graph_inputs(spec, graph)
    zeros = {name: WarmupInput(dims=dims) for name, dims in inputs.items()}
    warm = tuple(ModelWarmup(name=f"zeros-{size}", batch_size=size, inputs=zeros) for size in sorted({1, max_batch}))
    parameters, group = {SPEC_PARAMETER: spec.model_dump_json()}, InstanceGroup(kind="GPU")
    if profile is Profile.CPU:
        engine = settings.engine if graph == "denoiser" else EngineOptions(instances=1)
        parameters |= engine.parameters()
        group = InstanceGroup(kind="CPU", count=engine.instance_count())
    return TritonModelConfig(
        name=graph,
        backend={Profile.CPU: "python", Profile.GPU_PLAN: "", Profile.GPU_ORT: "onnxruntime"}[profile],
        platform="tensorrt_plan" if profile is Profile.GPU_PLAN else "",
        default_model_filename="" if profile is Profile.CPU else graph_file(profile),
        max_batch_size=max_batch,
        inputs=tuple(TensorConfig(name=name, dims=dims) for name, dims in inputs.items()),
        outputs=tuple(TensorConfig(name=name, dims=dims) for name, dims in graph_outputs(spec, graph).items()),
        # No queue delay: it would be paid at every step of every request.
        dynamic_batching=DynamicBatching(default_queue_policy=_queue_policy(settings)),
        instance_groups=(group,),
        optimization=_optimization(graph, inputs, profile, settings),
        parameters=parameters,
        warmup=warm,
    )


def graph_file(profile: Profile) -> str:
    """File name of the graph in its version folder."""
    return "model.plan" if profile is Profile.GPU_PLAN else "model.onnx"


def write_repository(
    root: Path,
    spec: ModelSpec,
    graphs: Mapping[GraphName, Path],
    profile: Profile = Profile.CPU,
    settings: RepositorySettings | None = None,
    beside: Mapping[GraphName, Sequence[Path]] | None = None,
) -> list[Path]:
    """Write both models and return the files written.

    Args:
        beside: files that go beside a graph, such as a compiled engine's.

    Raises:
        InvalidArtifact: a graph is missing, has other inputs or outputs than the spec, or is not of the profile's kind.
    """
    settings = settings or RepositorySettings()
    for graph in GRAPHS:
        _check_graph(graphs.get(graph), graph, spec, profile)
    root = root.resolve()
    root.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for graph in GRAPHS:
        part = _scratch_folder(root, graph)
        try:
            files = _fill(part, spec, graph, graphs[graph], profile, settings, (beside or {}).get(graph, ()))
            _swap(part, root / graph)
        finally:
            shutil.rmtree(part, ignore_errors=True)
        written += [root / graph / file for file in files]
    _sync(root)
    return written


def write_config(root: Path, spec: ModelSpec, graph: GraphName, profile: Profile, settings: RepositorySettings) -> None:
    """Replace the configuration of a model that is there; its graph stays."""
    atomic_write(root / graph / CONFIG, render(model_config(spec, graph, profile, settings)).encode())


def read_configs(root: Path) -> dict[str, TritonModelConfig]:
    """Configurations of all models in a repository, by name.

    Raises:
        MissingDependency: there is no repository.
        InvalidArtifact: a configuration cannot be read.
    """
    files = sorted(p for p in root.glob(f"*/{CONFIG}") if not p.parent.name.startswith("."))
    if not files:
        raise MissingDependency(f"no model repository at {root}; `choreo export` writes one")
    configs = {file.parent.name: parse(file.read_text(encoding="utf-8")) for file in files}
    for folder, config in configs.items():
        if config.name != folder:
            raise InvalidArtifact(f"the model in folder {folder!r} calls itself {config.name!r}")
    return configs


def read_spec(root: Path) -> ModelSpec:
    """The wire contract of the generator in a repository.

    Raises:
        MissingDependency: there is no repository, or one of its two models is missing.
        InvalidArtifact: the contract is missing or broken, or the two models disagree on it.
    """
    configs = read_configs(root)
    missing = [graph for graph in GRAPHS if graph not in configs]
    if missing:
        raise MissingDependency(f"no {missing[0]} in the model repository {root}; `choreo export` writes it")
    specs = [spec_of(configs[graph].parameters, graph) for graph in GRAPHS]
    if specs[0] != specs[1]:
        raise InvalidArtifact("conditioner and denoiser in the model repository belong to different generators")
    return specs[0]


def spec_of(parameters: Mapping[str, str], model: str) -> ModelSpec:
    """The wire contract in a model configuration's parameters.

    Raises:
        InvalidArtifact: it is missing or broken.
    """
    text = parameters.get(SPEC_PARAMETER)
    if text is None:
        raise InvalidArtifact(f"the configuration of {model!r} has no parameter {SPEC_PARAMETER!r}")
    try:
        return ModelSpec.model_validate_json(text)
    except ValueError as error:
        raise InvalidArtifact(f"the model spec in the configuration of {model!r} is broken: {error}") from error


def _queue_policy(settings: RepositorySettings) -> QueuePolicy | None:
    return QueuePolicy(max_queue_size=settings.max_queue_size) if settings.max_queue_size > 0 else None


def _optimization(
    graph: GraphName, inputs: Shapes, profile: Profile, settings: RepositorySettings
) -> Optimization | None:
    max_batch = settings.max_batch(graph)
    if profile is Profile.GPU_PLAN:
        batches = sorted({size for size in settings.cuda_graph_batches if size <= max_batch})
        specs = tuple(GraphSpec(batch_size=size, inputs=inputs) for size in batches)
        return Optimization(cuda=Cuda(graphs=True, graph_spec=specs))
    if profile is Profile.GPU_ORT:
        cache = f"{settings.tensorrt_cache}/{graph}"
        parameters = {
            "max_workspace_size_bytes": str(settings.tensorrt_workspace_bytes),
            "trt_engine_cache_enable": "true",
            "trt_engine_cache_path": cache,
            "trt_timing_cache_enable": "true",
            "trt_timing_cache_path": cache,
            "trt_profile_min_shapes": _profile_shapes(inputs, 1),
            "trt_profile_opt_shapes": _profile_shapes(inputs, max(1, max_batch // 2)),
            "trt_profile_max_shapes": _profile_shapes(inputs, max_batch),
        }
        return Optimization(gpu_accelerators=(Accelerator(name="tensorrt", parameters=parameters),))
    return None


def _profile_shapes(inputs: Shapes, batch: int) -> str:
    return ",".join(f"{name}:{'x'.join(map(str, (batch, *dims)))}" for name, dims in inputs.items())


def _check_graph(path: Path | None, graph: GraphName, spec: ModelSpec, profile: Profile) -> None:
    if path is None or not path.is_file():
        raise InvalidArtifact(f"the graph of the {graph} is missing")
    if profile is Profile.GPU_PLAN:
        if path.suffix != ".plan":
            raise InvalidArtifact(f"the profile {profile} serves TensorRT plans, not {path.name}")
        return
    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception as error:  # the parser raises protobuf's own errors, which onnx does not re-export
        raise InvalidArtifact(f"{path.name} is not an ONNX graph") from error
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in model.graph.initializer):
        raise InvalidArtifact(f"{path.name} keeps its weights in a second file; export it as one")
    weights = {tensor.name for tensor in model.graph.initializer}
    _check_tensors(path, "input", [v for v in model.graph.input if v.name not in weights], graph_inputs(spec, graph))
    _check_tensors(path, "output", list(model.graph.output), graph_outputs(spec, graph))


def _check_tensors(path: Path, role: str, values: list[onnx.ValueInfoProto], expected: Shapes) -> None:
    names = {value.name for value in values}
    if names != set(expected):
        raise InvalidArtifact(f"{path.name} has the {role}s {sorted(names)}, the spec says {sorted(expected)}")
    for value in values:
        tensor = value.type.tensor_type
        dims = [d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim]
        fits = len(dims) == 1 + len(expected[value.name]) and all(
            a is None or a == b for a, b in zip(dims[1:], expected[value.name], strict=True)
        )
        if tensor.elem_type != onnx.TensorProto.FLOAT or not fits or dims[0] is not None:
            raise InvalidArtifact(
                f"{path.name}: {role} {value.name!r} must be float32 of shape (batch, {expected[value.name]}), "
                f"not element type {tensor.elem_type} of shape {dims}"
            )


def _texts(spec: ModelSpec, graph: GraphName, profile: Profile, settings: RepositorySettings) -> dict[str, str]:
    """Text files of a model by their path in its folder."""
    texts = {CONFIG: render(model_config(spec, graph, profile, settings))}
    if profile is Profile.CPU:
        texts["1/model.py"] = (Path(__file__).parent / "python_backend.py").read_text(encoding="utf-8")
    return texts


def _build_record(spec: ModelSpec, profile: Profile, sha256: str) -> str:
    return json.dumps({"spec": spec.name, "profile": profile.value, "sha256": sha256}, indent=2) + "\n"


def _fill(
    folder: Path,
    spec: ModelSpec,
    graph: GraphName,
    source: Path,
    profile: Profile,
    settings: RepositorySettings,
    beside: Sequence[Path],
) -> list[str]:
    """Write a model's files into a new folder; returns their relative paths."""
    (folder / "1").mkdir(parents=True)
    target = f"1/{graph_file(profile)}"
    # A copy, not a hard link: an exporter that rewrites its file in place would change the served model.
    shutil.copyfile(source, folder / target)
    texts = _texts(spec, graph, profile, settings)
    texts["1/build.json"] = _build_record(spec, profile, _sha256(folder / target))
    for file, text in texts.items():
        (folder / file).write_text(text, encoding="utf-8")
    for extra in beside:
        shutil.copyfile(extra, folder / "1" / extra.name)
    files = [*texts, target, *(f"1/{extra.name}" for extra in beside)]
    for path in [*files, "1", "."]:
        _sync(folder / path)
    return files


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _swap(part: Path, target: Path) -> None:
    """Put `part` in the place of `target`."""
    if not target.exists():
        os.rename(part, target)
    elif not _exchange(part, target):
        # The file system cannot exchange two folders: for a moment neither is in place.
        old = part.with_name(part.name.replace(".part", "-old.part"))
        os.rename(target, old)
        os.rename(part, target)
        shutil.rmtree(old, ignore_errors=True)


def _exchange(a: Path, b: Path) -> bool:
    """Swap two directory entries in one step, if kernel and file system can."""
    at_cwd, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    libc = ctypes.CDLL(None, use_errno=True)
    with suppress(AttributeError):  # a C library without renameat2
        return bool(libc.renameat2(at_cwd, os.fsencode(a), at_cwd, os.fsencode(b), exchange) == 0)
    return False


def _scratch_folder(root: Path, graph: str) -> Path:
    """A new name for a model's folder while it is filled; removes what killed writers left under such names."""
    # Beside the repository, because Triton takes every folder inside it, hidden or not, for a model. Only where the
    # repository is a mount of its own there is no place beside it to rename from.
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    place = root if any(line.split()[4] == str(root) for line in mounts) else root.parent
    stem = f".{root.name}.{graph}"
    for path in place.glob(f"{stem}.*.part"):
        owner = path.name.removeprefix(f"{stem}.").split("-")[0]
        if not Path(f"/proc/{owner}").exists():
            shutil.rmtree(path, ignore_errors=True)
    return place / f"{stem}.{os.getpid()}-{secrets.token_hex(4)}.part"
