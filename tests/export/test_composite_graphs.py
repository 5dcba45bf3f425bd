"""The graphs of a composite generator: their agreement with torch, and tokens that decode alike."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from small_composite import save_small_composite, small_composite, small_composite_spec, small_config, small_tokenizer

from choreo.generators.composite.model import CompositeNetwork
from choreo.generators.sample_inputs import sample_inputs
from export import onnx_graphs
from export.build import build_repository
from export.onnx_graphs import TOLERANCE, ExportedGraph, export_graphs
from export.repository import read_spec

BATCHES = (1, 2, 5, 32)
GRAPHS = ("gpt", "decoder", "conditioner", "denoiser")


@pytest.fixture(scope="module")
def network() -> CompositeNetwork:
    return small_composite()


@pytest.fixture(scope="module")
def graphs(network: CompositeNetwork, tmp_path_factory: pytest.TempPathFactory) -> dict[str, ExportedGraph]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnx_graphs, "PARITY_BATCHES", BATCHES)
        return {graph.name: graph for graph in export_graphs(network, tmp_path_factory.mktemp("graphs"))}


@pytest.mark.slow
@pytest.mark.parametrize("name", GRAPHS)
def test_a_graph_agrees_with_torch_at_every_batch(graphs: dict[str, ExportedGraph], name: str) -> None:
    assert set(graphs[name].parity) == set(BATCHES)
    assert max(graphs[name].parity.values()) <= TOLERANCE["float32"]


@pytest.mark.slow
def test_a_row_does_not_depend_on_those_beside_it(network: CompositeNetwork, graphs: dict[str, ExportedGraph]) -> None:
    for name in ("gpt", "decoder"):
        session = onnxruntime.InferenceSession(str(graphs[name].path), providers=["CPUExecutionProvider"])
        inputs = sample_inputs(network.spec.graph(name), 5, seed=3)
        together = session.run(None, inputs)
        alone = session.run(None, {key: values[2:3] for key, values in inputs.items()})
        for both, one in zip(together, alone, strict=True):
            np.testing.assert_allclose(one[0], both[2], atol=1e-5)


@pytest.mark.slow
def test_a_grid_is_exported_as_well(tmp_path: Path) -> None:
    tokenizer = small_tokenizer(quantizer="fsq", levels=(4, 4))
    network = small_composite(small_config(small_composite_spec(), tokenizer=tokenizer))
    decoder = next(graph for graph in export_graphs(network, tmp_path) if graph.name == "decoder")
    assert max(decoder.parity.values()) <= TOLERANCE["float32"]


@pytest.mark.slow
def test_a_repository_serves_all_four(tmp_path: Path) -> None:
    checkpoint, root = save_small_composite(tmp_path / "checkpoint"), tmp_path / "repository"
    built = build_repository(checkpoint, root)
    assert set(GRAPHS) <= set(built.parity)
    assert read_spec(root, "small-composite").parameters["key_pose_interval"] == 16
    assert build_repository(checkpoint, root).reused
