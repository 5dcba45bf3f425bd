"""A generator small enough for every test: two ONNX graphs that follow the wire contract and compute almost nothing."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from choreo.generators.spec import GeneratorSpec, GraphSpec, Shapes
from choreo.generators.unet.graphs import unet_spec
from export.engine_options import EngineOptions
from export.model_config import RepositorySettings
from export.repository import write_generator

GRAPHS = ("conditioner", "denoiser")


def tiny_spec(name: str = "tiny", **changes: Any) -> GeneratorSpec:
    fields: dict[str, Any] = {
        "window": 8,
        "context_tokens": 3,
        "context_dim": 5,
        "music_dim": 6,
        "text_dim": 7,
        "rhythm_channels": 4,
        "mean": (0.0,) * 4,
        "std": (1.0,) * 4,
    }
    return unet_spec(name, **(fields | changes))


def write_graphs(folder: Path, spec: GeneratorSpec) -> dict[str, Path]:
    """Write both graphs.

    conditioner: `context` is a linear map of `text`, `context_mask` is `has_text`.
    denoiser: its output is sqrt(x) / 2, so a negative x gives NaN; it takes the longer the larger the largest `t`,
    about a second for 1e5.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return {graph.name: _save(folder / f"{graph.name}.onnx", graph) for graph in spec.graphs}


def tiny_repository(root: Path, *specs: GeneratorSpec) -> Path:
    one_at_a_time = RepositorySettings(engine=EngineOptions(instances=1))
    for spec in specs or (tiny_spec(),):
        graphs = write_graphs(root.parent / f"{root.name}-{spec.name}-graphs", spec)
        write_generator(root, spec, graphs, settings=one_at_a_time)
    return root


def tiny_inputs(spec: GeneratorSpec, graph: str, rows: int, seed: int = 0, t: float = 0) -> dict[str, NDArray]:
    """Random rows in [0, 1) of a graph; `t` is as given."""
    rng = np.random.default_rng(seed)
    inputs = {n: rng.random((rows, *shape), np.float32) for n, shape in spec.graph(graph).input_shapes.items()}
    return inputs | ({"t": np.full((rows, 1), t, np.float32)} if graph == "denoiser" else {})


def _save(path: Path, graph: GraphSpec) -> Path:
    nodes, weights = _conditioner(graph) if graph.name == "conditioner" else _denoiser(graph)
    body = helper.make_graph(
        nodes,
        graph.name,
        _values(graph.input_shapes),
        _values(graph.output_shapes),
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    return path


def _values(shapes: Shapes) -> list[onnx.ValueInfoProto]:
    return [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *dims]) for name, dims in shapes.items()]


def _conditioner(graph: GraphSpec) -> tuple[list[onnx.NodeProto], dict[str, object]]:
    tokens, dim = graph.output_shapes["context"]
    (text_dim,) = graph.input_shapes["text"]
    weights = {
        "projection": np.random.default_rng(0).normal(size=(text_dim, tokens * dim)).astype(np.float32),
        "shape": np.array([-1, tokens, dim]),
        "ones": np.ones((1, tokens), np.float32),
    }
    nodes = [
        helper.make_node("MatMul", ["text", "projection"], ["flat"]),
        helper.make_node("Reshape", ["flat", "shape"], ["context"]),
        helper.make_node("MatMul", ["has_text", "ones"], ["context_mask"]),
    ]
    return nodes, weights


def _denoiser(graph: GraphSpec) -> tuple[list[onnx.NodeProto], dict[str, object]]:
    state = helper.make_tensor_value_info("state_in", TensorProto.FLOAT, [32, 32])
    state_out = helper.make_tensor_value_info("state_out", TensorProto.FLOAT, [32, 32])
    step = helper.make_tensor_value_info("step", TensorProto.INT64, [])
    go_in = helper.make_tensor_value_info("go_in", TensorProto.BOOL, [])
    go_out = helper.make_tensor_value_info("go_out", TensorProto.BOOL, [])
    body = helper.make_graph(
        [helper.make_node("Identity", ["go_in"], ["go_out"]), helper.make_node("Relu", ["state_in"], ["state_out"])],
        "body",
        [step, go_in, state],
        [go_out, state_out],
    )
    nodes = [
        helper.make_node("ReduceMax", ["t"], ["longest"], keepdims=0),
        helper.make_node("Cast", ["longest"], ["steps"], to=TensorProto.INT64),
        helper.make_node("Loop", ["steps", "go", "zeros"], ["nothing"], body=body),
        helper.make_node("ReduceMax", ["nothing"], ["zero"], keepdims=0),
        helper.make_node("Sqrt", ["x"], ["root"]),
        helper.make_node("Mul", ["root", "half"], ["halved"]),
        helper.make_node("Add", ["halved", "zero"], [next(iter(graph.output_shapes))]),
    ]
    weights = {"go": np.array(True), "zeros": np.zeros((32, 32), np.float32), "half": np.array(0.5, np.float32)}
    return nodes, weights
