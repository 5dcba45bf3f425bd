import logging
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from native_engine import needs_compiler

from choreo.errors import InvalidArtifact, InvalidInput, MissingDependency
from choreo.generators.checkpoint import Generator, GeneratorConfig, save_generator
from choreo.generators.spec import ModelSpec
from choreo.generators.unet.config import UNetConfig
from choreo.models.conditioner import ConditionerConfig
from choreo.models.layers import Attention
from export import build
from export.build import build_repository
from export.native import loader
from export.onnx_graphs import TOLERANCE, Precision, export_graphs, parity
from export.repository import read_configs, read_spec


@pytest.fixture(scope="module")
def generator() -> Generator:
    spec = ModelSpec(name="small", context_dim=16, mean=(0.0,) * 66, std=(1.0,) * 66)
    config = GeneratorConfig(
        conditioner=ConditionerConfig(context_dim=16, num_heads=2),
        denoiser=UNetConfig(
            model_channels=16, channel_mult=(1, 2), num_res_blocks=1, attention_resolutions=(2,), num_heads=2,
            context_dim=16,
        ),
        spec=spec, music_mean=(0.0,) * 35, music_std=(1.0,) * 35,
    )  # fmt: skip
    torch.manual_seed(0)
    out = Generator(config).eval()
    for p in out.parameters():
        torch.nn.init.normal_(p, std=0.15)
    return out


@pytest.fixture(scope="module")
def checkpoint(generator: Generator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    save_generator(folder, generator.config, generator.state_dict())
    return folder


@pytest.fixture(scope="module")
def graphs(generator: Generator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("graphs")
    for graph in export_graphs(generator, folder):
        assert set(graph.parity) == {1, 2, 5}
        assert max(graph.parity.values()) <= TOLERANCE["float32"]
    return folder


def test_convolutions_are_two_dimensional_and_the_batch_axis_is_free(graphs: Path) -> None:
    model = onnx.load(graphs / "denoiser.onnx")
    weights = {w.name: w.dims for w in model.graph.initializer}
    kernels = [weights[n.input[1]] for n in model.graph.node if n.op_type == "Conv"]
    assert all(len(dims) == 4 for dims in kernels)
    network = [dims for dims in kernels if dims[1] > 1]  # the smoothing filters see one channel at a time
    assert len(network) > 5
    assert all(dims[2] == 1 for dims in network)
    for value in (*model.graph.input, *model.graph.output):
        assert value.type.tensor_type.shape.dim[0].dim_param


def test_a_graph_with_other_weights_is_detected(generator: Generator, graphs: Path) -> None:
    other = Generator(generator.config).eval()
    for p in other.parameters():
        torch.nn.init.normal_(p, std=0.15)
    with pytest.raises(InvalidArtifact, match="differs from torch"):
        parity(other.denoiser, "denoiser", generator.spec, graphs / "denoiser.onnx")


def test_fused_attention_computes_the_same(generator: Generator, tmp_path: Path) -> None:
    exported = {g.name: g for g in export_graphs(generator, tmp_path, fused=True)}
    for graph in exported.values():
        assert max(graph.parity.values()) <= TOLERANCE["float32"]
    operators = {name: [n.op_type for n in onnx.load(graph.path).graph.node] for name, graph in exported.items()}
    attentions = sum(isinstance(module, Attention) for module in generator.denoiser.modules())
    assert operators["denoiser"].count("MultiHeadAttention") == attentions > 0
    assert "Softmax" not in operators["denoiser"]
    assert "MultiHeadAttention" in operators["conditioner"]


def test_half_precision_keeps_norms_in_single(generator: Generator, tmp_path: Path) -> None:
    exported = {g.name: g for g in export_graphs(generator, tmp_path, Precision.FLOAT16)}
    assert 1e-6 < max(exported["denoiser"].parity.values()) <= TOLERANCE["float16"]
    model = onnx.shape_inference.infer_shapes(onnx.load(exported["denoiser"].path))
    types = {v.name: v.type.tensor_type.elem_type for v in (*model.graph.value_info, *model.graph.output)}
    produced: dict[str, set[int]] = {}
    for node in model.graph.node:
        produced.setdefault(node.op_type, set()).update(types[o] for o in node.output if o in types)
    kernels = {w.name: w for w in model.graph.initializer}
    trained = [n for n in model.graph.node if n.op_type == "Conv" and kernels[n.input[1]].dims[1] > 1]
    assert {kernels[n.input[1]].data_type for n in trained} == {onnx.TensorProto.FLOAT16}
    assert {types[n.output[0]] for n in trained} == {onnx.TensorProto.FLOAT16}
    assert produced["LayerNormalization"] == {onnx.TensorProto.FLOAT}
    assert all(v.type.tensor_type.elem_type == onnx.TensorProto.FLOAT for v in model.graph.input)


def test_a_repository_is_built_once_per_checkpoint(checkpoint: Path, tmp_path: Path) -> None:
    first = build_repository(checkpoint, tmp_path)
    assert not first.reused
    assert read_spec(tmp_path).name == "small"
    again = build_repository(checkpoint, tmp_path)
    assert again.reused
    assert again.parity == first.parity
    (tmp_path / "denoiser" / "1" / "model.onnx").unlink()
    assert not build_repository(checkpoint, tmp_path).reused


@needs_compiler
def test_a_compiled_engine_is_built_for_the_denoiser(checkpoint: Path, tmp_path: Path) -> None:
    built = build_repository(checkpoint, tmp_path)
    folder = tmp_path / "denoiser" / "1"
    assert max(built.parity["native"].values()) <= TOLERANCE["float32"]
    loader.check(folder)
    assert not loader.exists(tmp_path / "conditioner" / "1")
    assert build_repository(checkpoint, tmp_path).reused
    (folder / "native.bin").unlink()
    assert not build_repository(checkpoint, tmp_path).reused
    loader.check(folder)


@pytest.mark.parametrize("why", ["no compiler", "half precision"])
def test_without_a_compiled_engine_the_graph_is_served(
    checkpoint: Path, tmp_path: Path, why: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def missing(*_: object) -> None:
        raise MissingDependency("there is no compiler")

    monkeypatch.setattr(build, "build_native", missing)
    with caplog.at_level(logging.WARNING):
        built = build_repository(checkpoint, tmp_path, precision="float16" if "half" in why else "float32")
    assert ("no compiler" in caplog.text) is (why == "no compiler")
    assert "native" not in built.parity
    assert not loader.exists(tmp_path / "denoiser" / "1")
    assert build_repository(checkpoint, tmp_path, precision=built.precision).reused
    # The text of the configuration is the same on every machine.
    assert read_configs(tmp_path)["denoiser"].parameters["runtime"] == "auto"


def test_the_gpu_repository_parses(checkpoint: Path, tmp_path: Path) -> None:
    built = build_repository(checkpoint, tmp_path, "gpu-ort", "float16")
    configs = read_configs(tmp_path)
    assert built.precision == "float16"
    assert {c.backend for c in configs.values()} == {"onnxruntime"}
    assert {g.kind for c in configs.values() for g in c.instance_groups} == {"GPU"}


def test_bad_choices_are_typed(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as error:
        build_repository(checkpoint, tmp_path, "tpu")
    assert error.value.field == "profile"
    with pytest.raises(InvalidInput):
        build_repository(checkpoint, tmp_path, "cpu", "int3")
    with pytest.raises(MissingDependency):
        build_repository(tmp_path / "none", tmp_path)
    (checkpoint.parent / "broken").mkdir(exist_ok=True)
    for name in ("config.json", "model.safetensors"):
        data = (checkpoint / name).read_bytes()
        (checkpoint.parent / "broken" / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(InvalidArtifact):
        build_repository(checkpoint.parent / "broken", tmp_path)
    assert np.isfinite(max(TOLERANCE.values()))
