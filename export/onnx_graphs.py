"""Checkpoint to two ONNX graphs, `conditioner` and `denoiser`, checked and compared with torch."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from choreo.errors import InvalidArtifact
from choreo.generators.checkpoint import Generator
from choreo.generators.spec import ModelSpec
from export.fused_attention import fused_copy
from export.half import half_copy

OPSET = 20
PARITY_BATCHES = (1, 2, 5)
TOLERANCE = {"float32": 1e-4, "float16": 3e-2}
"""Largest accepted absolute difference from torch in float32, in the network's (unit-variance) units."""

_TRACED_BATCH = 2


class Precision(StrEnum):
    """Arithmetic of an exported graph; its inputs and outputs are float32 either way."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"


@dataclass(frozen=True)
class ExportedGraph:
    """One graph on disk, and its largest difference from torch by batch size."""

    name: str
    path: Path
    parity: dict[int, float]


def export_graphs(
    generator: Generator, folder: Path, precision: Precision = Precision.FLOAT32, fused: bool = False
) -> list[ExportedGraph]:
    """Write `conditioner.onnx` and `denoiser.onnx` with a dynamic batch axis.

    Args:
        fused: with attention as an operator of ONNX Runtime's own, which is faster there and unknown elsewhere.

    Raises:
        InvalidArtifact: a graph fails ONNX's checker or is further from torch than its precision allows.
    """
    folder.mkdir(parents=True, exist_ok=True)
    spec = generator.spec
    graphs = []
    for name, module in (("conditioner", generator.conditioner), ("denoiser", generator.denoiser)):
        path = folder / f"{name}.onnx"
        module.eval()
        exact = fused_copy(module) if fused else module
        _export(half_copy(module) if precision is Precision.FLOAT16 else exact, name, spec, path)
        _check(path)
        graphs.append(ExportedGraph(name, path, parity(module, name, spec, path, precision)))
    return graphs


def sample_inputs(name: str, spec: ModelSpec, batch: int, seed: int = 0) -> dict[str, Tensor]:
    """Random but valid inputs of a graph: masks are 0 or 1, timesteps lie in the schedule."""
    rng = np.random.default_rng(seed)
    shapes = spec.conditioner_inputs() if name == "conditioner" else spec.denoiser_inputs()
    out = {}
    for key, shape in shapes.items():
        if key.endswith("mask") or key.startswith("has_"):
            values = (rng.random((batch, *shape)) < 0.8).astype(np.float32)
        elif key == "t":
            values = rng.integers(0, spec.num_train_timesteps, (batch, *shape)).astype(np.float32)
        else:
            values = rng.normal(size=(batch, *shape)).astype(np.float32)
        if key == "prior":
            values[..., -1] = rng.random((batch, shape[0])) < 0.5
        out[key] = torch.from_numpy(values)
    return out


@torch.no_grad()
def parity(
    module: nn.Module, name: str, spec: ModelSpec, path: Path, precision: Precision = Precision.FLOAT32
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
        inputs = sample_inputs(name, spec, batch, seed=batch)
        expected = module(*inputs.values())
        expected = expected if isinstance(expected, tuple) else (expected,)
        actual = session.run(None, {k: v.numpy() for k, v in inputs.items()})
        pairs = zip(expected, actual, strict=True)
        worst[batch] = max(float(np.abs(a.numpy() - b).max()) for a, b in pairs)
    if max(worst.values()) > TOLERANCE[precision]:
        raise InvalidArtifact(f"{path.name} differs from torch by {max(worst.values()):.2e} (batch: error {worst})")
    return worst


def _export(module: nn.Module, name: str, spec: ModelSpec, path: Path) -> None:
    inputs = sample_inputs(name, spec, _TRACED_BATCH)
    outputs = spec.conditioner_outputs() if name == "conditioner" else spec.denoiser_outputs()
    batch = torch.export.Dim("batch", min=1, max=1024)
    with _quiet():
        program = torch.onnx.export(
            module,
            tuple(inputs.values()),
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_shapes=tuple({0: batch} for _ in inputs),
            opset_version=OPSET,
            dynamo=True,
        )
    if program is None:
        raise InvalidArtifact(f"torch could not export {name}")
    program.save(str(path))


def _check(path: Path) -> None:
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except onnx.checker.ValidationError as error:
        raise InvalidArtifact(f"{path.name} is not a valid ONNX model: {error}") from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter narrates on standard output, which belongs to results."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logger.setLevel(level)
