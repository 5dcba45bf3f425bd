"""A generator small enough for every test: two ONNX graphs that follow the wire contract and compute almost nothing."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from choreo.generators.spec import ModelSpec
from export.engine_options import EngineOptions
from export.repository import GRAPHS, GraphName, RepositorySettings, graph_inputs, graph_outputs, write_repository


def tiny_spec(**changes: object) -> ModelSpec:
    fields: dict[str, object] = {
        "name": "tiny",
        "window": 8,
        "channels": 4,
        "context_tokens": 3,
        "context_dim": 5,
        "music_dim": 6,
        "text_dim": 7,
        "rhythm_channels": 2,
        "mean": (0.0,) * 4,
        "std": (1.0,) * 4,
    }
    return ModelSpec.model_validate(fields | changes)


def write_graphs(folder: Path, spec: ModelSpec) -> dict[GraphName, Path]:
    """Write both graphs.

    conditioner: `context` is a linear map of `text`, `context_mask` is `has_text`.
    denoiser: `x0` is sqrt(x) / 2, so a negative x gives NaN; it takes the longer the larger the largest `t`, about a
    second for 1e5.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return {graph: _save(folder / f"{graph}.onnx", spec, graph) for graph in GRAPHS}


def tiny_repository(root: Path, spec: ModelSpec | None = None) -> Path:
    spec = spec or tiny_spec()
    one_at_a_time = RepositorySettings(engine=EngineOptions(instances=1))
    write_repository(root, spec, write_graphs(root.parent / f"{root.name}-graphs", spec), settings=one_at_a_time)
    return root


def tiny_inputs(spec: ModelSpec, graph: GraphName, rows: int, seed: int = 0, t: float = 0) -> dict[str, NDArray]:
    """Random rows in [0, 1) of a graph; `t` is as given."""
    rng = np.random.default_rng(seed)
    inputs = {n: rng.random((rows, *shape), np.float32) for n, shape in graph_inputs(spec, graph).items()}
    return inputs | ({"t": np.full((rows, 1), t, np.float32)} if graph == "denoiser" else {})


def _save(path: Path, spec: ModelSpec, graph: GraphName) -> Path:
    nodes, weights = _conditioner(spec) if graph == "conditioner" else _denoiser(spec)
    body = helper.make_graph(
        nodes,
        graph,
        _values(graph_inputs(spec, graph)),
        _values(graph_outputs(spec, graph)),
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    return path


def _values(shapes: Mapping[str, tuple[int, ...]]) -> list[onnx.ValueInfoProto]:
    return [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *dims]) for name, dims in shapes.items()]


def _conditioner(spec: ModelSpec) -> tuple[list[onnx.NodeProto], dict[str, object]]:
    tokens, dim = spec.context_tokens, spec.context_dim
    weights = {
        "projection": np.random.default_rng(0).normal(size=(spec.text_dim, tokens * dim)).astype(np.float32),
        "shape": np.array([-1, tokens, dim]),
        "ones": np.ones((1, tokens), np.float32),
    }
    nodes = [
        helper.make_node("MatMul", ["text", "projection"], ["flat"]),
        helper.make_node("Reshape", ["flat", "shape"], ["context"]),
        helper.make_node("MatMul", ["has_text", "ones"], ["context_mask"]),
    ]
    return nodes, weights


def _denoiser(spec: ModelSpec) -> tuple[list[onnx.NodeProto], dict[str, object]]:
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
        helper.make_node("Add", ["halved", "zero"], [spec.prediction.value]),
    ]
    weights = {"go": np.array(True), "zeros": np.zeros((32, 32), np.float32), "half": np.array(0.5, np.float32)}
    return nodes, weights
