"""The three graphs of a latent generator: their agreement with torch, and with each other on every replica."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from small_latent import save_small_latent, small_latent

from choreo.generators.latent.model import LatentNetwork
from choreo.generators.sample_inputs import sample_inputs
from choreo.models.layers import Attention
from export import onnx_graphs
from export.build import build_repository
from export.onnx_graphs import TOLERANCE, ExportedGraph, export_graphs
from export.precision import Precision
from export.repository import read_spec

BATCHES = (1, 2, 5, 32)


@pytest.fixture(scope="module")
def network() -> LatentNetwork:
    return small_latent()


@pytest.fixture(scope="module")
def graphs(network: LatentNetwork, tmp_path_factory: pytest.TempPathFactory) -> dict[str, ExportedGraph]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnx_graphs, "PARITY_BATCHES", BATCHES)
        return {graph.name: graph for graph in export_graphs(network, tmp_path_factory.mktemp("graphs"))}


def session(graph: ExportedGraph) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(str(graph.path), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("name", ["encoder", "denoiser", "decoder"])
def test_a_graph_agrees_with_torch_at_every_batch(graphs: dict[str, ExportedGraph], name: str) -> None:
    assert set(graphs[name].parity) == set(BATCHES)
    assert max(graphs[name].parity.values()) <= TOLERANCE["float32"]
    model = onnx.load(graphs[name].path)
    for value in (*model.graph.input, *model.graph.output):
        assert value.type.tensor_type.shape.dim[0].dim_param


def test_latents_of_one_motion_decode_alike_on_every_replica(
    network: LatentNetwork, graphs: dict[str, ExportedGraph]
) -> None:
    """Two sessions, as two replicas have them: equal bits, and a row does not depend on those beside it."""
    motion = sample_inputs(network.spec.graph("encoder"), 5, seed=3)
    motion["known_mask"][:] = 1
    decoded = []
    for _ in range(2):
        given, _ = session(graphs["encoder"]).run(None, motion)
        (features,) = session(graphs["decoder"]).run(None, {"latents": given})
        decoded.append(features)
    np.testing.assert_array_equal(decoded[0], decoded[1])
    (alone,) = session(graphs["decoder"]).run(None, {"latents": given[2:3]})
    np.testing.assert_allclose(alone[0], decoded[0][2], atol=1e-5)


def test_fused_attention_computes_the_same(network: LatentNetwork, tmp_path: Path) -> None:
    exported = {g.name: g for g in export_graphs(network, tmp_path, fused=True)}
    for graph in exported.values():
        assert max(graph.parity.values()) <= TOLERANCE["float32"]
    operators = [node.op_type for node in onnx.load(exported["denoiser"].path).graph.node]
    attentions = sum(isinstance(module, Attention) for module in network.denoiser.modules())
    assert operators.count("MultiHeadAttention") == attentions > 0


def test_half_precision_is_close(network: LatentNetwork, tmp_path: Path) -> None:
    for graph in export_graphs(network, tmp_path, Precision.FLOAT16):
        assert max(graph.parity.values()) <= TOLERANCE["float16"]


def test_a_repository_serves_all_three(tmp_path: Path) -> None:
    checkpoint, root = save_small_latent(tmp_path / "checkpoint"), tmp_path / "repository"
    built = build_repository(checkpoint, root)
    assert set(built.parity) == {"encoder", "denoiser", "decoder"}
    assert read_spec(root, "small-latent").parameters["latent_std"] == [1.5] * 4
    assert build_repository(checkpoint, root).reused
