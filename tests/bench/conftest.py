"""A small phrase library, and a model repository whose denoiser is one matrix product."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from synthetic_phrases import WordEncoder, dance
from tiny_generator import tiny_spec, write_graphs

from choreo.generators.spec import GraphSpec
from export.engine_options import EngineOptions
from export.model_config import RepositorySettings
from export.repository import write_generator
from retrieval.building.build import build_library
from retrieval.library.library import PhraseLibrary

SPEC = tiny_spec(window=16, mean=(0.0,) * 8, std=(1.0,) * 8)
MATRIX = np.random.default_rng(0).normal(size=(8, 8)).astype(np.float32)


class OneProduct(torch.nn.Module):
    def forward(self, x: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        return x @ torch.from_numpy(MATRIX)


def denoiser(path: Path, graph: GraphSpec) -> Path:
    values = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *dims]) for name, dims in shapes.items()]
        for shapes in (graph.input_shapes, graph.output_shapes)
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "matrix"], ["x0"]),
        helper.make_node("Gemm", ["t", "column"], ["unused"], transB=1),
    ]
    weights = [numpy_helper.from_array(MATRIX, "matrix"), numpy_helper.from_array(MATRIX[:, :1], "column")]
    column = helper.make_tensor_value_info("column", TensorProto.FLOAT, [8, 1])
    body = helper.make_graph(nodes, "denoiser", *values, weights, value_info=[column])
    onnx.save(helper.make_model(body, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


@pytest.fixture(scope="session")
def words() -> WordEncoder:
    return WordEncoder()


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory, words: WordEncoder) -> Path:
    out = tmp_path_factory.mktemp("bench") / "lib"
    moves = ("bounce", "kick", "turn", "sway", "side_step", "walk")
    build_library([dance(move, 85.0 + 10 * i, seed=i) for i, move in enumerate(moves * 2)], out, words)
    return out


@pytest.fixture(scope="session")
def library(folder: Path) -> PhraseLibrary:
    return PhraseLibrary.open(folder)


@pytest.fixture
def one_product(tmp_path: Path) -> tuple[Path, SimpleNamespace]:
    """A repository and the generator that it was exported from."""
    root, graphs = tmp_path / "model_repo", write_graphs(tmp_path / "graphs", SPEC)
    graphs["denoiser"] = denoiser(tmp_path / "denoiser.onnx", SPEC.graph("denoiser"))
    write_generator(root, SPEC, graphs, settings=RepositorySettings(engine=EngineOptions(batch_rows=8)))
    return root, SimpleNamespace(spec=SPEC, graphs=lambda: {"denoiser": OneProduct()})
