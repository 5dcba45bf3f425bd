"""Exported graphs: their structure, and their agreement with torch."""

from pathlib import Path

import onnx
import pytest
import torch
from small_network import small_network

from choreo.errors import InvalidArtifact
from choreo.generators.network import GeneratorNetwork
from choreo.generators.unet.model import UNetModel
from choreo.models.layers import Attention
from export.onnx_graphs import TOLERANCE, export_graphs, parity
from export.precision import Precision


@pytest.fixture(scope="module")
def network() -> UNetModel:
    return small_network()


@pytest.fixture(scope="module")
def graphs(network: UNetModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("graphs")
    for graph in export_graphs(network, folder):
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


def test_a_graph_with_other_weights_is_detected(network: UNetModel, graphs: Path) -> None:
    other = small_network(seed=1)
    with pytest.raises(InvalidArtifact, match="differs from torch"):
        parity(other.denoiser, network.spec.graph("denoiser"), graphs / "denoiser.onnx")


def test_a_graph_without_a_network_is_refused_by_name(network: UNetModel, tmp_path: Path) -> None:
    class WithoutDenoiser(GeneratorNetwork):
        def graphs(self) -> dict[str, torch.nn.Module]:
            return {"conditioner": network.conditioner}

    with pytest.raises(InvalidArtifact, match="small has no network for its graph 'denoiser'"):
        export_graphs(WithoutDenoiser(network.config), tmp_path)


def test_fused_attention_computes_the_same(network: UNetModel, tmp_path: Path) -> None:
    exported = {g.name: g for g in export_graphs(network, tmp_path, fused=True)}
    for graph in exported.values():
        assert max(graph.parity.values()) <= TOLERANCE["float32"]
    operators = {name: [n.op_type for n in onnx.load(graph.path).graph.node] for name, graph in exported.items()}
    attentions = sum(isinstance(module, Attention) for module in network.denoiser.modules())
    assert operators["denoiser"].count("MultiHeadAttention") == attentions > 0
    assert "Softmax" not in operators["denoiser"]
    assert "MultiHeadAttention" in operators["conditioner"]


def test_half_precision_keeps_norms_in_single(network: UNetModel, tmp_path: Path) -> None:
    exported = {g.name: g for g in export_graphs(network, tmp_path, Precision.FLOAT16)}
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
