"""Graphs of a generator as ONNX files, checked and compared with torch."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import nn

from choreo.errors import InvalidArtifact
from choreo.generators.network import GeneratorNetwork
from choreo.generators.sample_inputs import sample_inputs
from choreo.generators.spec import GraphSpec
from export.fused_attention import fused_copy
from export.half import half_copy
from export.precision import Precision

OPSET = 20
PARITY_BATCHES = (1, 2, 5)
TOLERANCE = {"float32": 1e-4, "float16": 3e-2}
"""Largest accepted absolute difference from torch in float32, in the network's (unit-variance) units."""

_TRACED_BATCH = 2


@dataclass(frozen=True)
class ExportedGraph:
    """One graph on disk, and its largest difference from torch by batch size."""

    name: str
    path: Path
    parity: dict[int, float]


def export_graphs(
    network: GeneratorNetwork, folder: Path, precision: Precision = Precision.FLOAT32, fused: bool = False
) -> list[ExportedGraph]:
    """Write `<graph>.onnx` for every graph of the spec, with a dynamic batch axis.

    Args:
        fused: with attention as an operator of ONNX Runtime's own, which is faster there and unknown elsewhere.

    Raises:
        InvalidArtifact: a graph is missing, fails ONNX's checker, or is further from torch than its precision allows.
    """
    folder.mkdir(parents=True, exist_ok=True)
    modules, exported = network.graphs(), []
    for graph in network.spec.graphs:
        if graph.name not in modules:
            raise InvalidArtifact(f"{network.spec.name} has no network for its graph {graph.name!r}")
        path, module = folder / f"{graph.name}.onnx", modules[graph.name].eval()
        exact = fused_copy(module) if fused else module
        _export(half_copy(module) if precision is Precision.FLOAT16 else exact, graph, path)
        _check(path)
        exported.append(ExportedGraph(graph.name, path, parity(module, graph, path, precision)))
    return exported


@torch.no_grad()
def parity(
    module: nn.Module, graph: GraphSpec, path: Path, precision: Precision = Precision.FLOAT32
) -> dict[int, float]:
    """Largest absolute difference between the graph under ONNX Runtime and torch, by batch size.

    Raises:
        InvalidArtifact: it exceeds the tolerance of the precision.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    worst = {}
    for batch in PARITY_BATCHES:
        inputs = sample_inputs(graph, batch, seed=batch)
        expected = module(*map(torch.from_numpy, inputs.values()))
        expected = expected if isinstance(expected, tuple) else (expected,)
        actual = session.run(None, inputs)
        pairs = zip(expected, actual, strict=True)
        worst[batch] = max(float(np.abs(a.numpy() - b).max()) for a, b in pairs)
    if max(worst.values()) > TOLERANCE[precision]:
        raise InvalidArtifact(f"{path.name} differs from torch by {max(worst.values()):.2e} (batch: error {worst})")
    return worst


def _export(module: nn.Module, graph: GraphSpec, path: Path) -> None:
    inputs = sample_inputs(graph, _TRACED_BATCH)
    batch = torch.export.Dim("batch", min=1, max=1024)
    with _quiet():
        program = torch.onnx.export(
            module,
            tuple(map(torch.from_numpy, inputs.values())),
            input_names=list(inputs),
            output_names=list(graph.output_shapes),
            dynamic_shapes=tuple({0: batch} for _ in inputs),
            opset_version=OPSET,
            dynamo=True,
        )
    if program is None:
        raise InvalidArtifact(f"torch could not export {graph.name}")
    program.save(str(path))


def _check(path: Path) -> None:
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except onnx.checker.ValidationError as error:
        raise InvalidArtifact(f"{path.name} is not a valid ONNX model: {error}") from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the exporter prints off standard output, which belongs to results."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logger.setLevel(level)
