import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from tiny_generator import GRAPHS, tiny_repository, tiny_spec, write_graphs

from choreo.errors import InvalidArtifact, InvalidInput, MissingDependency
from choreo.generators.spec import GeneratorSpec
from export import repository
from export.engine_options import EngineOptions
from export.model_config import Profile, RepositorySettings, spec_of
from export.repository import (
    INDEX,
    LOCK,
    read_configs,
    read_spec,
    record_name,
    remove_generator,
    serve_first,
    serve_only,
    served,
    write_config,
    write_generator,
)
from export.triton_config import DynamicBatching, InstanceGroup, TritonModelConfig, parse

Graphs = dict[str, Path]
CONDITIONER, DENOISER = KEYS = tuple(f"tiny.{graph}" for graph in GRAPHS)


@pytest.fixture
def spec() -> GeneratorSpec:
    return tiny_spec()


@pytest.fixture
def graphs(tmp_path: Path, spec: GeneratorSpec) -> Graphs:
    return write_graphs(tmp_path / "graphs", spec)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "model_repo"


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def config(root: Path, graph: str) -> TritonModelConfig:
    return parse((root / f"tiny.{graph}" / "config.pbtxt").read_text())


def test_layout_of_the_cpu_profile(root: Path, spec: GeneratorSpec, graphs: Graphs) -> None:
    written = write_generator(root, spec, graphs)
    expected = {f"{key}/{f}" for key in KEYS for f in ("config.pbtxt", "1/model.py", "1/model.onnx", "1/build.json")}
    assert set(snapshot(root)) == expected | {INDEX, LOCK}
    assert {str(p.relative_to(root)) for p in written} == expected
    for graph in GRAPHS:
        version = root / spec.key(graph) / "1"
        assert (version / "model.onnx").read_bytes() == graphs[graph].read_bytes()
        assert json.loads((version / "build.json").read_text())["spec"] == "tiny"


@pytest.mark.parametrize("graph", GRAPHS)
def test_configuration_of_the_cpu_profile(root: Path, spec: GeneratorSpec, graphs: Graphs, graph: str) -> None:
    write_generator(root, spec, graphs)
    read = config(root, graph)
    max_batch = {"conditioner": 16, "denoiser": 32}[graph]
    assert (read.name, read.backend, read.max_batch_size) == (f"tiny.{graph}", "python", max_batch)
    assert read.instance_groups == (InstanceGroup(kind="CPU", count=1),)
    assert read.dynamic_batching == DynamicBatching()
    assert {t.name: t.dims for t in read.inputs} == spec.graph(graph).input_shapes
    assert {t.name: t.dims for t in read.outputs} == spec.graph(graph).output_shapes
    assert {t.dtype for t in read.inputs + read.outputs} == {"FP32"}
    assert [w.batch_size for w in read.warmup] == [1, max_batch]
    assert all(set(w.inputs) == set(spec.graph(graph).input_shapes) for w in read.warmup)
    assert spec_of(read.parameters, read.name) == spec
    assert read.parameters["choreo_graph"] == graph
    assert read.parameters["runtime"] == "auto"


def test_the_same_arguments_give_the_same_bytes(root: Path, spec: GeneratorSpec, graphs: Graphs) -> None:
    write_generator(root, spec, graphs)
    first = snapshot(root)
    write_generator(root, spec, graphs)
    assert snapshot(root) == first
    assert not [p.name for p in root.parent.iterdir() if p.name.startswith(".")]


def test_a_model_that_is_written_again_keeps_nothing_of_the_old(
    root: Path, spec: GeneratorSpec, graphs: Graphs
) -> None:
    write_generator(root, spec, graphs)
    (root / DENOISER / "1" / "left.over").touch()
    (root / "README").touch()
    write_generator(root, spec, graphs, Profile.GPU_ORT)
    assert not (root / DENOISER / "1" / "left.over").exists()
    assert not (root / DENOISER / "1" / "model.py").exists()
    assert (root / "README").exists()


@pytest.mark.parametrize("exchange", [True, False])
def test_swap_with_and_without_the_kernels_exchange(
    root: Path, spec: GeneratorSpec, graphs: Graphs, exchange: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_generator(root, spec, graphs)
    if not exchange:
        monkeypatch.setattr("choreo.files._exchange", lambda a, b: False)
    changed = tiny_spec(std=(2.0,) * 4)
    write_generator(root, changed, graphs)
    assert read_spec(root, "tiny") == changed
    assert not [p.name for p in root.parent.iterdir() if p.name.startswith(".")]


def test_a_failure_leaves_the_old_model(
    root: Path, spec: GeneratorSpec, graphs: Graphs, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_generator(root, spec, graphs)
    before = snapshot(root)

    def full(part: Path, *_: Any) -> list[str]:
        part.mkdir()
        raise OSError("no space left on device")

    monkeypatch.setattr(repository, "_fill", full)
    with pytest.raises(OSError, match="no space"):
        write_generator(root, tiny_spec(std=(2.0,) * 4), graphs)
    assert snapshot(root) == before
    assert not [p.name for p in root.parent.iterdir() if p.name.startswith(".")]


def test_leftovers_of_dead_writers_are_removed_and_those_of_living_ones_kept(
    root: Path, spec: GeneratorSpec, graphs: Graphs
) -> None:
    dead = subprocess.Popen([sys.executable, "-S", "-c", ""])
    dead.wait()
    leftovers = {pid: root.parent / f".model_repo.{DENOISER}.{pid}-0.part" for pid in (dead.pid, os.getpid())}
    for folder in leftovers.values():
        folder.mkdir()
    write_generator(root, spec, graphs)
    assert not leftovers[dead.pid].exists()
    assert leftovers[os.getpid()].exists()


def test_tensorrt_plans(root: Path, spec: GeneratorSpec, graphs: Graphs, tmp_path: Path) -> None:
    with pytest.raises(InvalidArtifact, match="TensorRT plans"):
        write_generator(root, spec, graphs, Profile.GPU_PLAN)
    plans: Graphs = {graph: tmp_path / f"{graph}.plan" for graph in GRAPHS}
    for plan in plans.values():
        plan.write_bytes(b"plan")
    few = spec.graph("denoiser").model_copy(update={"max_rows": 8})
    spec = spec.model_copy(update={"graphs": (spec.graph("conditioner"), few)})
    write_generator(root, spec, plans, Profile.GPU_PLAN)
    read = config(root, "denoiser")
    assert (read.platform, read.default_model_filename) == ("tensorrt_plan", "model.plan")
    assert read.instance_groups == (InstanceGroup(kind="GPU"),)
    assert read.optimization is not None
    assert read.optimization.cuda is not None
    assert read.optimization.cuda.graphs
    captured = read.optimization.cuda.graph_spec
    assert [s.batch_size for s in captured] == [1, 2, 4, 8]
    assert all(s.inputs == spec.graph("denoiser").input_shapes for s in captured)
    assert (root / DENOISER / "1" / "model.plan").read_bytes() == b"plan"


def test_onnx_runtime_with_tensorrt(root: Path, spec: GeneratorSpec, graphs: Graphs) -> None:
    write_generator(root, spec, graphs, Profile.GPU_ORT)
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
def test_a_graph_that_breaks_the_contract_is_refused(
    root: Path, spec: GeneratorSpec, graphs: Graphs, change: Any
) -> None:
    with pytest.raises(InvalidArtifact):
        write_generator(root, spec, mangled(graphs, change))
    assert not root.exists()


def test_weights_in_a_second_file_are_refused(root: Path, spec: GeneratorSpec, graphs: Graphs) -> None:
    model = onnx.load(graphs["denoiser"])
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(4096, np.float32), "large"))
    onnx.save(model, graphs["denoiser"], save_as_external_data=True, location="denoiser.data", size_threshold=0)
    with pytest.raises(InvalidArtifact, match="second file"):
        write_generator(root, spec, graphs)


def test_what_is_no_graph_is_refused(root: Path, spec: GeneratorSpec, graphs: Graphs) -> None:
    graphs["denoiser"].write_bytes(b"\xffnot a graph")
    with pytest.raises(InvalidArtifact, match="not an ONNX graph"):
        write_generator(root, spec, graphs)
    with pytest.raises(InvalidArtifact, match="missing"):
        write_generator(root, spec, {"conditioner": graphs["conditioner"]})


def test_read_spec(root: Path, spec: GeneratorSpec, graphs: Graphs) -> None:
    with pytest.raises(MissingDependency, match="choreo export"):
        read_spec(root, "tiny")
    write_generator(root, spec, graphs)
    assert read_spec(root, "tiny") == spec
    assert sorted(read_configs(root)) == [CONDITIONER, DENOISER]
    with pytest.raises(MissingDependency, match=r"no generator other .*choreo export"):
        read_spec(root, "other")
    shutil.rmtree(root / DENOISER)
    with pytest.raises(MissingDependency, match="lacks the denoiser of tiny"):
        read_spec(root, "tiny")


def test_models_that_disagree_or_are_broken_are_refused(root: Path, spec: GeneratorSpec, graphs: Graphs) -> None:
    write_generator(root, spec, graphs)
    path = root / DENOISER / "config.pbtxt"
    text = path.read_text()
    path.write_text(text.replace(r"\"window\":8", r"\"window\":9"))
    with pytest.raises(InvalidArtifact, match="different exports"):
        read_spec(root, "tiny")
    path.write_text(text.replace(r"\"window\"", r"\"widow\""))
    with pytest.raises(InvalidArtifact, match="broken"):
        read_spec(root, "tiny")
    path.write_text(text.replace(f'name: "{DENOISER}"', 'name: "other"'))
    with pytest.raises(InvalidArtifact, match="calls itself"):
        read_spec(root, "tiny")


# Several generators


def test_generators_are_served_in_the_order_in_which_they_came(root: Path) -> None:
    tiny_repository(root, tiny_spec("waltz"), tiny_spec("salsa"), tiny_spec("salsa.fast"))
    assert served(root) == ["waltz", "salsa", "salsa.fast"]
    for name in served(root):
        assert read_spec(root, name) == tiny_spec(name)
    tiny_repository(root, tiny_spec("waltz", std=(2.0,) * 4))
    assert served(root) == ["waltz", "salsa", "salsa.fast"]
    assert read_spec(root, "salsa") == tiny_spec("salsa")


def test_a_repository_without_a_list_serves_everything_by_name(root: Path) -> None:
    tiny_repository(root, tiny_spec("waltz"), tiny_spec("salsa"))
    (root / INDEX).unlink()
    assert served(root) == ["salsa", "waltz"]
    shutil.rmtree(root)
    with pytest.raises(MissingDependency, match="choreo export"):
        served(root)


def test_what_is_served_is_chosen_and_the_rest_stays_on_disk(root: Path) -> None:
    tiny_repository(root, tiny_spec("waltz"), tiny_spec("salsa"), tiny_spec("tango"))
    serve_first(root, "salsa")
    assert served(root) == ["salsa", "waltz", "tango"]
    serve_only(root, ["tango", "salsa", "tango"])
    assert served(root) == ["tango", "salsa"]
    assert read_spec(root, "waltz") == tiny_spec("waltz")
    with pytest.raises(MissingDependency, match=r"no generator polka; `choreo export` writes it"):
        serve_only(root, ["salsa", "polka"])
    assert served(root) == ["tango", "salsa"]
    serve_first(root, "waltz")
    assert served(root) == ["waltz", "tango", "salsa"]


def test_a_removed_generator_leaves_nothing_and_takes_nothing_along(root: Path) -> None:
    tiny_repository(root, tiny_spec("salsa"), tiny_spec("salsa.fast"), tiny_spec("waltz"))
    for name in ("salsa", "salsa.fast"):
        (root / record_name(name)).write_text("{}")
    remove_generator(root, "salsa")
    assert served(root) == ["salsa.fast", "waltz"]
    assert sorted(p.name for p in root.iterdir()) == sorted(
        [
            LOCK,
            INDEX,
            record_name("salsa.fast"),
            *(f"{n}.{graph}" for n in ("salsa.fast", "waltz") for graph in GRAPHS),
        ]
    )
    assert not [p.name for p in root.parent.iterdir() if p.name.startswith(".")]
    with pytest.raises(InvalidInput, match=r"must be one of .*\(salsa\.fast, waltz\), got 'salsa'") as caught:
        remove_generator(root, "salsa")
    assert caught.value.field == "model"


@pytest.mark.parametrize("text", ["{", "[]", '{"models": 3}', '{"models": [3]}', "{}"])
def test_a_list_that_cannot_be_read_is_refused(root: Path, text: str) -> None:
    tiny_repository(root)
    (root / INDEX).write_text(text)
    with pytest.raises(InvalidArtifact, match=r"models\.json"):
        served(root)


def test_names_in_the_list_that_are_not_there_are_left_out(root: Path) -> None:
    tiny_repository(root)
    (root / INDEX).write_text('{"models": ["gone", "tiny"]}')
    assert served(root) == ["tiny"]


def test_a_configuration_is_replaced_and_the_graph_stays(root: Path, spec: GeneratorSpec, graphs: Graphs) -> None:
    write_generator(root, spec, graphs)
    before = snapshot(root / DENOISER)
    options = RepositorySettings(engine=EngineOptions(instances=3))
    write_config(root, spec, spec.graph("denoiser"), Profile.CPU, options)
    after = snapshot(root / DENOISER)
    assert {name for name in before if before[name] != after[name]} == {"config.pbtxt"}
    assert config(root, "denoiser").instance_groups == (InstanceGroup(kind="CPU", count=3),)


def test_files_of_a_compiled_engine_lie_next_to_their_graph(
    root: Path, spec: GeneratorSpec, graphs: Graphs, tmp_path: Path
) -> None:
    (tmp_path / "engine.so").write_bytes(b"compiled")
    written = write_generator(root, spec, graphs, extra_files={"denoiser": [tmp_path / "engine.so"]})
    assert (root / DENOISER / "1" / "engine.so").read_bytes() == b"compiled"
    assert root.resolve() / DENOISER / "1" / "engine.so" in written
    assert not (root / CONDITIONER / "1" / "engine.so").exists()


def test_writers_at_one_time_lose_nothing(root: Path) -> None:
    names = [f"dance-{number}" for number in range(6)]
    with ThreadPoolExecutor(6) as writers:
        list(writers.map(lambda name: tiny_repository(root, tiny_spec(name)), names))
    assert sorted(served(root)) == names
    assert all(read_spec(root, name) == tiny_spec(name) for name in names)
