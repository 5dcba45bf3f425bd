import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from tiny_generator import tiny_spec, write_graphs

from choreo.errors import InvalidArtifact, MissingDependency
from choreo.generators.spec import ModelSpec
from export import repository
from export.engine_options import EngineOptions
from export.repository import (
    GRAPHS,
    GraphName,
    Profile,
    RepositorySettings,
    graph_inputs,
    graph_outputs,
    read_configs,
    read_spec,
    write_repository,
)
from export.triton_config import DynamicBatching, InstanceGroup, TritonModelConfig, parse

Graphs = dict[GraphName, Path]


@pytest.fixture
def spec() -> ModelSpec:
    return tiny_spec()


@pytest.fixture
def graphs(tmp_path: Path, spec: ModelSpec) -> Graphs:
    return write_graphs(tmp_path / "graphs", spec)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "model_repo"


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def config(root: Path, graph: GraphName) -> TritonModelConfig:
    return parse((root / graph / "config.pbtxt").read_text())


def test_layout_of_the_cpu_profile(root: Path, spec: ModelSpec, graphs: Graphs) -> None:
    written = write_repository(root, spec, graphs)
    expected = {f"{g}/{f}" for g in GRAPHS for f in ("config.pbtxt", "1/model.py", "1/model.onnx", "1/build.json")}
    assert set(snapshot(root)) == expected
    assert {str(p.relative_to(root)) for p in written} == expected
    for graph in GRAPHS:
        assert (root / graph / "1" / "model.onnx").read_bytes() == graphs[graph].read_bytes()
        assert json.loads((root / graph / "1" / "build.json").read_text())["spec"] == "tiny"


@pytest.mark.parametrize("graph", GRAPHS)
def test_configuration_of_the_cpu_profile(root: Path, spec: ModelSpec, graphs: Graphs, graph: GraphName) -> None:
    write_repository(root, spec, graphs)
    read = config(root, graph)
    max_batch = {"conditioner": 16, "denoiser": 32}[graph]
    assert (read.name, read.backend, read.max_batch_size) == (graph, "python", max_batch)
    instances = {"conditioner": 1, "denoiser": EngineOptions().instance_count()}[graph]
    assert read.instance_groups == (InstanceGroup(kind="CPU", count=instances),)
    assert read.dynamic_batching == DynamicBatching()
    assert {t.name: t.dims for t in read.inputs} == graph_inputs(spec, graph)
    assert {t.name: t.dims for t in read.outputs} == graph_outputs(spec, graph)
    assert {t.dtype for t in read.inputs + read.outputs} == {"FP32"}
    assert [w.batch_size for w in read.warmup] == [1, max_batch]
    assert all(set(w.inputs) == set(graph_inputs(spec, graph)) for w in read.warmup)
    assert ModelSpec.model_validate_json(read.parameters["choreo"]) == spec
    assert read.parameters["runtime"] == "auto"


def test_a_queue_limit_is_set_only_where_it_is_wanted(root: Path, spec: ModelSpec, graphs: Graphs) -> None:
    write_repository(root, spec, graphs, settings=RepositorySettings(max_queue_size=7))
    batching = config(root, "denoiser").dynamic_batching
    assert batching is not None
    assert batching.default_queue_policy is not None
    assert batching.default_queue_policy.max_queue_size == 7


def test_the_same_arguments_give_the_same_bytes(root: Path, spec: ModelSpec, graphs: Graphs) -> None:
    write_repository(root, spec, graphs)
    first = snapshot(root)
    write_repository(root, spec, graphs)
    assert snapshot(root) == first
    assert not [p.name for p in root.parent.iterdir() if p.name.startswith(".")]


def test_a_model_that_is_written_again_keeps_nothing_of_the_old(root: Path, spec: ModelSpec, graphs: Graphs) -> None:
    write_repository(root, spec, graphs)
    (root / "denoiser" / "1" / "left.over").touch()
    (root / "README").touch()
    write_repository(root, spec, graphs, Profile.GPU_ORT)
    assert not (root / "denoiser" / "1" / "left.over").exists()
    assert not (root / "denoiser" / "1" / "model.py").exists()
    assert (root / "README").exists()


@pytest.mark.parametrize("exchange", [True, False])
def test_swap_with_and_without_the_kernels_exchange(
    root: Path, spec: ModelSpec, graphs: Graphs, exchange: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_repository(root, spec, graphs)
    if not exchange:
        monkeypatch.setattr(repository, "_exchange", lambda a, b: False)
    changed = tiny_spec(std=(2.0,) * 4)
    write_repository(root, changed, graphs)
    assert read_spec(root) == changed
    assert not [p.name for p in root.parent.iterdir() if p.name.startswith(".")]


def test_a_failure_leaves_the_old_model(
    root: Path, spec: ModelSpec, graphs: Graphs, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_repository(root, spec, graphs)
    before = snapshot(root)

    def full(part: Path, *_: Any) -> list[str]:
        part.mkdir()
        raise OSError("no space left on device")

    monkeypatch.setattr(repository, "_fill", full)
    with pytest.raises(OSError, match="no space"):
        write_repository(root, tiny_spec(std=(2.0,) * 4), graphs)
    assert snapshot(root) == before
    assert not [p.name for p in root.parent.iterdir() if p.name.startswith(".")]


def test_leftovers_of_dead_writers_are_removed_and_those_of_living_ones_kept(
    root: Path, spec: ModelSpec, graphs: Graphs
) -> None:
    dead = subprocess.Popen([sys.executable, "-S", "-c", ""])
    dead.wait()
    leftovers = {pid: root.parent / f".model_repo.denoiser.{pid}-0.part" for pid in (dead.pid, os.getpid())}
    for folder in leftovers.values():
        folder.mkdir()
    write_repository(root, spec, graphs)
    assert not leftovers[dead.pid].exists()
    assert leftovers[os.getpid()].exists()


def test_tensorrt_plans(root: Path, spec: ModelSpec, graphs: Graphs, tmp_path: Path) -> None:
    with pytest.raises(InvalidArtifact, match="TensorRT plans"):
        write_repository(root, spec, graphs, Profile.GPU_PLAN)
    plans: Graphs = {graph: tmp_path / f"{graph}.plan" for graph in GRAPHS}
    for plan in plans.values():
        plan.write_bytes(b"plan")
    write_repository(root, spec, plans, Profile.GPU_PLAN, RepositorySettings(denoiser_max_batch=8))
    read = config(root, "denoiser")
    assert (read.platform, read.default_model_filename) == ("tensorrt_plan", "model.plan")
    assert read.instance_groups == (InstanceGroup(kind="GPU"),)
    assert read.optimization is not None
    assert read.optimization.cuda is not None
    assert read.optimization.cuda.graphs
    captured = read.optimization.cuda.graph_spec
    assert [s.batch_size for s in captured] == [1, 2, 4, 8]
    assert all(s.inputs == graph_inputs(spec, "denoiser") for s in captured)
    assert (root / "denoiser" / "1" / "model.plan").read_bytes() == b"plan"


def test_onnx_runtime_with_tensorrt(root: Path, spec: ModelSpec, graphs: Graphs) -> None:
    write_repository(root, spec, graphs, Profile.GPU_ORT)
    read = config(root, "denoiser")
    assert (read.backend, read.default_model_filename) == ("onnxruntime", "model.onnx")
    assert read.optimization is not None
    (accelerator,) = read.optimization.gpu_accelerators
    assert accelerator.name == "tensorrt"
    assert accelerator.parameters["trt_engine_cache_enable"] == "true"
    assert accelerator.parameters["trt_profile_max_shapes"].startswith("x:32x8x4,t:32x1,context:32x3x5,")


def mangled(graphs: Graphs, change: Any) -> Graphs:
    model = onnx.load(graphs["denoiser"])
    change(model)
    onnx.save(model, graphs["denoiser"])
    return graphs


def _rename(model: onnx.ModelProto) -> None:
    model.graph.input[0].name = "noisy"


def _halve(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT16


def _reshape(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 9


def _fix_batch(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1


def _no_output(model: onnx.ModelProto) -> None:
    del model.graph.output[:]


@pytest.mark.parametrize("change", [_rename, _halve, _reshape, _fix_batch, _no_output])
def test_a_graph_that_breaks_the_contract_is_refused(root: Path, spec: ModelSpec, graphs: Graphs, change: Any) -> None:
    with pytest.raises(InvalidArtifact):
        write_repository(root, spec, mangled(graphs, change))
    assert not root.exists()


def test_weights_in_a_second_file_are_refused(root: Path, spec: ModelSpec, graphs: Graphs) -> None:
    model = onnx.load(graphs["denoiser"])
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(4096, np.float32), "large"))
    onnx.save(model, graphs["denoiser"], save_as_external_data=True, location="denoiser.data", size_threshold=0)
    with pytest.raises(InvalidArtifact, match="second file"):
        write_repository(root, spec, graphs)


def test_what_is_no_graph_is_refused(root: Path, spec: ModelSpec, graphs: Graphs) -> None:
    graphs["denoiser"].write_bytes(b"\xffnot a graph")
    with pytest.raises(InvalidArtifact, match="not an ONNX graph"):
        write_repository(root, spec, graphs)
    with pytest.raises(InvalidArtifact, match="missing"):
        write_repository(root, spec, {"conditioner": graphs["conditioner"]})


def test_read_spec(root: Path, spec: ModelSpec, graphs: Graphs) -> None:
    with pytest.raises(MissingDependency, match="choreo export"):
        read_spec(root)
    write_repository(root, spec, graphs)
    assert read_spec(root) == spec
    assert sorted(read_configs(root)) == ["conditioner", "denoiser"]


def test_a_repository_with_two_generators_is_refused(root: Path, spec: ModelSpec, graphs: Graphs) -> None:
    write_repository(root, spec, graphs)
    path = root / "denoiser" / "config.pbtxt"
    path.write_text(path.read_text().replace(r"\"tiny\"", r"\"other\""))
    with pytest.raises(InvalidArtifact, match="different generators"):
        read_spec(root)
    path.write_text(path.read_text().replace(r"\"window\"", r"\"widow\""))
    with pytest.raises(InvalidArtifact, match="broken"):
        read_spec(root)
    path.write_text(path.read_text().replace('name: "denoiser"', 'name: "other"'))
    with pytest.raises(InvalidArtifact, match="calls itself"):
        read_spec(root)
