"""Ways to run a graph in this process: torch, ONNX Runtime, the compiled engine and OpenVINO."""

import functools
import importlib
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import onnx
from numpy.typing import NDArray

from choreo.generators.network import GeneratorNetwork
from choreo.generators.sample_inputs import sample_inputs
from choreo.generators.spec import GeneratorSpec, GraphSpec
from export.engine_options import EngineOptions, cores
from export.native.loader import NativeSession
from export.repository import read_configs

Inputs = dict[str, NDArray[np.float32]]
Run = Callable[[Inputs], NDArray[np.float32]]

NATIVE: Final = "native"


def step_graph(spec: GeneratorSpec) -> GraphSpec:
    """The dearest graph that is evaluated at every step, such as a denoiser."""
    return max((graph for graph in spec.graphs if graph.per_step), key=lambda graph: graph.cost)


@dataclass(frozen=True)
class Exported:
    """A graph in torch, its file in a model repository, and the options that it is served with."""

    module: Any
    graph: Path
    options: EngineOptions

    @classmethod
    def of(cls, network: GeneratorNetwork, step: GraphSpec, repository: Path) -> Self:
        """One graph of a generator that was exported to the repository."""
        model = network.spec.key(step.name)
        options = EngineOptions.from_parameters(read_configs(repository)[model].parameters)
        return cls(network.graphs()[step.name], repository / model / "1" / "model.onnx", options)


def random_inputs(graph: GraphSpec, rows: int) -> Inputs:
    """Inputs of a call."""
    return sample_inputs(graph, rows)


def torch_eager(module: Any) -> Run:
    """The torch module on all cores of this process."""
    import torch

    module = module.eval()
    torch.set_num_threads(cores())

    def run(inputs: Inputs) -> NDArray[np.float32]:
        with torch.inference_mode():
            return np.asarray(module(*(torch.from_numpy(values) for values in inputs.values())))

    return run


def onnx_runtime(graph: Path, options: EngineOptions) -> Run:
    """The exported graph in ONNX Runtime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(graph), options.session_options(), providers=["CPUExecutionProvider"])
    return _split(lambda inputs: np.asarray(session.run(None, inputs)[0]), options)


def native_engine(folder: Path, options: EngineOptions) -> dict[str, Run]:
    """The compiled engine with the attention contexts of the call before, and with new ones at every call.

    Raises:
        NativeUnavailable: the folder has no engine for this machine.
    """
    session = NativeSession(folder, options.workers())
    rng = np.random.default_rng(0)

    def renewed(inputs: Inputs) -> Inputs:
        return inputs | {"context": inputs["context"] + rng.normal(size=(len(inputs["context"]), 1, 1)).astype("f4")}

    def run(inputs: Inputs) -> NDArray[np.float32]:
        return session.run(None, inputs)[0]

    return {NATIVE: run, f"{NATIVE}, new contexts": lambda inputs: run(renewed(inputs))}


def open_vino(graph: Path, options: EngineOptions) -> dict[str, Run]:
    """OpenVINO with a dynamic batch axis, and compiled for each number of rows; empty if it is not installed."""
    try:
        openvino = importlib.import_module("openvino")
    except ImportError:
        return {}
    streams, core = options.instance_count(), openvino.Core()
    hints = {
        "INFERENCE_NUM_THREADS": streams * options.threads(),
        "NUM_STREAMS": streams,
        "INFERENCE_PRECISION_HINT": "f32",
    }
    free = core.compile_model(str(graph), "CPU", hints)

    @functools.cache
    def fixed(rows: int) -> Any:
        model = core.read_model(str(graph))
        model.reshape({value.get_any_name(): [rows, *list(value.get_partial_shape())[1:]] for value in model.inputs})
        return core.compile_model(model, "CPU", hints)

    @functools.cache
    def request(rows: int, thread: int) -> Any:
        return fixed(rows).create_infer_request()

    def run_fixed(inputs: Inputs) -> NDArray[np.float32]:
        of = request(len(next(iter(inputs.values()))), threading.get_ident())
        return np.array(of.infer(inputs, share_inputs=True)[0])

    return {
        "openvino": _split(lambda inputs: np.asarray(free.create_infer_request().infer(inputs)[0]), options),
        "openvino static": _split(run_fixed, options),
    }


def int8_products(graph: Path, options: EngineOptions) -> Run:
    """ONNX Runtime with int8 weights and dynamically quantised inputs in matrix products; convolutions stay float32."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(str(graph))
    # The quantiser transposes the weights of a Gemm in place, and then fails on the shapes recorded for them and on
    # other nodes that share them.
    del model.graph.value_info[:]
    _unshare(model.graph)
    with tempfile.TemporaryDirectory(prefix="choreo-bench-") as folder:
        target = Path(folder) / "int8.onnx"
        quantize_dynamic(model, target, op_types_to_quantize=["MatMul", "Gemm"], weight_type=QuantType.QInt8)
        return onnx_runtime(target, options)


def _unshare(graph: onnx.GraphProto) -> None:
    """Give every node its own copy of its weights."""
    weights, seen = {weight.name: weight for weight in graph.initializer}, set()
    for node in graph.node:
        for place, name in enumerate(node.input):
            if name in weights and name in seen:
                own = graph.initializer.add()
                own.CopyFrom(weights[name])
                own.name = node.input[place] = f"{name}_of_{node.name}_{place}"
            seen.add(name)


def _split(run: Run, options: EngineOptions) -> Run:
    """Divide the rows of a call among the instances, as the scheduler of step batches does."""
    count = options.instance_count()
    pool = ThreadPoolExecutor(count)

    def split(inputs: Inputs) -> NDArray[np.float32]:
        parts = min(len(next(iter(inputs.values()))), count)
        pieces = zip(*(np.array_split(values, parts) for values in inputs.values()), strict=True)
        return np.concatenate(list(pool.map(lambda piece: run(dict(zip(inputs, piece, strict=True))), pieces)))

    return split
