"""The two graphs of a generator as blocking calls: torch modules, or the engine that this program uses."""

from pathlib import Path
from typing import Protocol

import numpy as np

from choreo.errors import MissingDependency
from choreo.generators.spec import ModelSpec
from export.engine_options import EngineOptions, cores
from export.repository import GRAPHS, GraphName, graph_outputs, read_configs, read_spec
from export.sessions import Session, open_session
from serving.engines.tensors import Tensors


class Graphs(Protocol):
    """Evaluates a graph; blocking."""

    @property
    def spec(self) -> ModelSpec:
        """The wire contract."""
        ...

    def run(self, graph: GraphName, inputs: Tensors) -> Tensors:
        """Outputs by name for float32 inputs (rows, *shape) by name."""
        ...


class TorchGraphs:
    """The checkpoint's torch modules on all cores that this process may use."""

    def __init__(self, weights: Path) -> None:
        import torch

        from choreo.generators.checkpoint import load_generator

        torch.set_num_threads(cores())
        self._torch, self._generator = torch, load_generator(weights)
        self.spec = self._generator.spec

    def run(self, graph: GraphName, inputs: Tensors) -> Tensors:
        """Outputs by name for float32 inputs (rows, *shape) by name."""
        torch = self._torch
        conditioner = graph == "conditioner"
        names = self.spec.conditioner_inputs() if conditioner else self.spec.denoiser_inputs()
        module = self._generator.conditioner if conditioner else self._generator.denoiser
        with torch.inference_mode():
            out = module(*(torch.from_numpy(np.ascontiguousarray(inputs[name])) for name in names))
        values = out if conditioner else (out,)
        return {name: v.numpy() for name, v in zip(graph_outputs(self.spec, graph), values, strict=True)}


class OnnxGraphs:
    """A model repository's graphs in the engine that Triton's backend uses, on all cores."""

    def __init__(self, repository: Path) -> None:
        self.spec = read_spec(repository)
        configs = read_configs(repository)
        self._sessions = {graph: _session(repository, graph, configs[graph].parameters) for graph in GRAPHS}

    def run(self, graph: GraphName, inputs: Tensors) -> Tensors:
        """Outputs by name for float32 inputs (rows, *shape) by name."""
        names = list(graph_outputs(self.spec, graph))
        return dict(zip(names, self._sessions[graph].run(names, inputs), strict=True))


def _session(repository: Path, graph: GraphName, parameters: dict[str, str]) -> Session:
    path = repository / graph / "1" / "model.onnx"
    if not path.is_file():
        raise MissingDependency(f"no ONNX graph at {path}; `choreo export` writes it")
    # One call at a time on all cores, as callers run nothing else meanwhile.
    options = EngineOptions.from_parameters(parameters).model_copy(update={"instances": 1, "intra_op_threads": 0})
    return open_session(path, options)
