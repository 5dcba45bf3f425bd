"""How near the engine gets to the machine: the denoiser under the compiled engine and other runtimes, by batch.

All contenders are called in turn, forwards and backwards, round after round; a contender's rate is that of its median
call, and its ratio is the median over rounds of what the present configuration took over what it took. The present one
is ONNX Runtime with the options in the repository. `of sgemm peak` counts products and convolutions only, as the
definition of the network has them, whatever a runtime saves of them, over the best float32 matrix product of the same
run. The compiled engine's contexts are those of the call before, as in serving; `new contexts` has others at each call.
Profiles are ONNX Runtime's own, of its fastest exact options, and the compiled engine's: shares of the time within
operators, by type. Errors are in units of normalised features.
"""

import argparse
import functools
import importlib
import json
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray

from bench.raw_engine import gflop_per_row, sgemm_gflops
from bench.report import Row, say, show, skipped
from choreo.errors import ChoreoError, InvalidInput
from choreo.generators.checkpoint import load_generator
from choreo.generators.spec import ModelSpec
from export.build import build_repository
from export.engine_options import EngineOptions, cores
from export.native.loader import NativeSession, NativeUnavailable
from export.onnx_graphs import sample_inputs
from export.repository import read_configs
from export.tuning import PAUSE_S, changes, contenders
from serving.engines.tensors import part, parts_of
from serving.settings import Settings

Inputs = dict[str, NDArray[np.float32]]
Run = Callable[[Inputs], NDArray[np.float32]]

BATCHES: Final = (1, 8, 16, 32, 64)
PRESENT: Final = "onnxruntime present"
INT8: Final = "onnxruntime int8"
NATIVE: Final = "native"
_PROFILED: Final = 10


@dataclass(frozen=True)
class Measured:
    """One contender at one batch size: rows per second, and how much faster than the present configuration."""

    rows_per_s: float
    ratio: float


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; 2 on bad input."""
    given = sys.argv[1:] if argv is None else list(argv)
    parser = argparse.ArgumentParser(prog="choreo bench engine", description=__doc__.partition("\n")[0])
    parser.add_argument("--batches", default=",".join(map(str, BATCHES)), help="rows of a call, between commas")
    parser.add_argument("--rounds", type=int, default=15, help="calls of every contender")
    parser.add_argument("--checkpoint", type=Path, help="omitted: the shipped one")
    parser.add_argument("--repository", type=Path, help="model repository of that checkpoint; omitted: the program's")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    args = parser.parse_args(given)
    settings = Settings()
    checkpoint, root = args.checkpoint or settings.weights, args.repository or settings.model_repo
    try:
        batches = _batches(args.batches)
        if args.rounds < 1:
            raise InvalidInput("rounds", f"must be at least 1, got {args.rounds}")
        build_repository(checkpoint, root)
        rows = list(_rows(settings.model_copy(update={"weights": checkpoint}), root, batches, args.rounds))
    except InvalidInput as error:
        say(f"choreo: {error}")
        return 2
    except ChoreoError as error:
        say(f"choreo: {error}")
        return 1
    show("engine", given, rows, args.json)
    return 0


def _batches(text: str) -> list[int]:
    try:
        batches = sorted({int(batch) for batch in text.split(",")})
    except ValueError as error:
        raise InvalidInput("batches", f"must be numbers between commas, got {text!r}") from error
    if not all(1 <= batch <= 1024 for batch in batches):
        raise InvalidInput("batches", f"must be 1 to 1024 rows, got {text!r}")
    return batches


def _rows(settings: Settings, root: Path, batches: Sequence[int], rounds: int) -> Iterator[Row]:
    graph = root / "denoiser" / "1" / "model.onnx"
    generator = load_generator(settings.weights)
    present = EngineOptions.from_parameters(read_configs(root)["denoiser"].parameters)
    options = onnx_contenders(present)
    runs = {"torch eager": _torch(generator.denoiser)}
    runs |= {name: _onnxruntime(graph, choice) for name, choice in options.items()}
    try:
        runs |= _native(graph.parent, present)
    except NativeUnavailable as error:
        yield skipped(NATIVE, str(error))
    openvino = _openvino(graph, present)
    if not openvino:
        yield skipped("openvino", "openvino is not installed: pip install openvino")
    runs |= openvino
    runs[INT8] = _int8(graph, present)
    peaks, measured = [sgemm_gflops()], {}
    for batch in batches:
        say(f"batch {batch}, {len(runs)} contenders, {rounds} rounds")
        measured[batch] = alternated(runs, _inputs(generator.spec, batch), rounds)
        peaks.append(sgemm_gflops())
    yield from _rates(measured, float(np.median(peaks)), gflop_per_row(settings))
    yield from _errors(runs, _inputs(generator.spec, batches[-1]))
    rates = {(name, batch): found[name].rows_per_s for batch, found in measured.items() for name in options}
    name, batch = max(rates, key=lambda case: rates[case])
    for op, share in profile(graph, options[name], _inputs(generator.spec, batch)).items():
        yield Row(f"profile of {name}/{batch}", op, share, "of time in operators")
    if NATIVE in runs:
        for op, share in native_profile(graph.parent, _inputs(generator.spec, batch)).items():
            yield Row(f"profile of {NATIVE}/{batch}", op, share, "of time in operators")


def _rates(measured: Mapping[int, Mapping[str, Measured]], peak: float, gflop: float) -> Iterator[Row]:
    yield Row("machine", "sgemm", peak, "GFLOP/s")
    yield Row("denoiser", "work", gflop, "GFLOP/row")
    for batch, found in measured.items():
        for name, one in found.items():
            yield Row(f"{name}/{batch}", "rate", one.rows_per_s, "rows/s")
            yield Row(f"{name}/{batch}", "of sgemm peak", one.rows_per_s * gflop / peak, "")
            yield Row(f"{name}/{batch}", "over present", one.ratio, "")


def onnx_contenders(present: EngineOptions) -> dict[str, EngineOptions]:
    """The present options, and each other value of one option, by name."""
    tried = [(name, value) for options in contenders() for name, value in changes(options).items()]
    usual = [(name, getattr(EngineOptions(), name)) for name in dict(tried)]
    out = {PRESENT: present}
    for name, value in (*usual, *tried):
        if value != getattr(present, name):
            out[f"onnxruntime {name}={value}"] = present.model_copy(update={name: value})
    return out


def alternated(runs: Mapping[str, Run], inputs: Inputs, rounds: int) -> dict[str, Measured]:
    """Call every contender in every round, after once that does not count; `runs` has the present one."""
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run(inputs)
    order = list(runs)
    for _ in range(rounds):
        for name in order:
            time.sleep(PAUSE_S)
            began = time.perf_counter()
            runs[name](inputs)
            taken[name].append(time.perf_counter() - began)
        order.reverse()
    rows, present = len(next(iter(inputs.values()))), np.array(taken[PRESENT])
    return {
        name: Measured(rows / float(np.median(seconds)), float(np.median(present / np.array(seconds))))
        for name, seconds in taken.items()
    }


def profile(graph: Path, options: EngineOptions, inputs: Inputs) -> dict[str, float]:
    """Share of the time within operators by type, the largest first."""
    import onnxruntime

    chosen = options.session_options()
    chosen.enable_profiling = True
    with tempfile.TemporaryDirectory(prefix="choreo-bench-") as folder:
        chosen.profile_file_prefix = str(Path(folder) / "profile")
        session = onnxruntime.InferenceSession(str(graph), chosen, providers=["CPUExecutionProvider"])
        for _ in range(_PROFILED):
            session.run(None, inputs)
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    spent: Counter[str] = Counter()
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            spent[event["args"]["op_name"]] += event["dur"]
    total = max(1, spent.total())
    return {op: duration / total for op, duration in spent.most_common()}


def _errors(runs: Mapping[str, Run], inputs: Inputs) -> Iterator[Row]:
    """Largest difference of one call from torch in float32."""
    expected = runs["torch eager"](inputs)
    for name in (PRESENT, NATIVE, "openvino", "openvino static", INT8):
        if name in runs:
            yield Row(name, "largest error", float(np.abs(runs[name](inputs) - expected).max()), "normalised features")


def _inputs(spec: ModelSpec, batch: int) -> Inputs:
    return {name: values.numpy() for name, values in sample_inputs("denoiser", spec, batch).items()}


def _torch(denoiser: Any) -> Run:
    import torch

    denoiser = denoiser.eval()
    torch.set_num_threads(cores())

    def run(inputs: Inputs) -> NDArray[np.float32]:
        with torch.inference_mode():
            return np.asarray(denoiser(*(torch.from_numpy(values) for values in inputs.values())))

    return run


def _onnxruntime(graph: Path, options: EngineOptions) -> Run:
    import onnxruntime

    chosen = options.session_options()
    session = onnxruntime.InferenceSession(str(graph), chosen, providers=["CPUExecutionProvider"])
    return _split(lambda inputs: np.asarray(session.run(None, inputs)[0]), options)


def _split(run: Run, options: EngineOptions) -> Run:
    """The rows of a call shared out among the instances, as the engines do it."""
    pool = ThreadPoolExecutor(options.instance_count())

    def split(inputs: Inputs) -> NDArray[np.float32]:
        rows = len(next(iter(inputs.values())))
        pieces = parts_of(rows, rows, options.instance_count())
        return np.concatenate(list(pool.map(lambda piece: run(part(inputs, piece)), pieces)))

    return split


def _native(folder: Path, options: EngineOptions) -> dict[str, Run]:
    """With the contexts of the call before, and with others."""
    session = NativeSession(folder, options.workers())
    rng = np.random.default_rng(0)

    def renewed(inputs: Inputs) -> Inputs:
        return inputs | {"context": inputs["context"] + rng.normal(size=(len(inputs["context"]), 1, 1)).astype("f4")}

    def run(inputs: Inputs) -> NDArray[np.float32]:
        return session.run(None, inputs)[0]

    return {NATIVE: run, f"{NATIVE}, new contexts": lambda inputs: run(renewed(inputs))}


def native_profile(folder: Path, inputs: Inputs) -> dict[str, float]:
    """Share of the time within operators of the compiled engine by type, the largest first."""
    session = NativeSession(folder)
    session.profile()
    for _ in range(_PROFILED):
        session.run(None, inputs)
    spent = Counter[str]()
    for op, seconds in session.profile():
        spent[op] += seconds  # type: ignore[assignment]
    total = sum(spent.values()) or 1
    return {op: seconds / total for op, seconds in spent.most_common()}


def _openvino(graph: Path, options: EngineOptions) -> dict[str, Run]:
    """With a free batch axis, and compiled for each number of rows; none where it is not installed."""
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


def _int8(graph: Path, options: EngineOptions) -> Run:
    """The products with int8 weights and inputs that are scaled as they come; convolutions stay in float32."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(str(graph))
    # The quantizer transposes weights of a Gemm in place and then trips over the shapes written down for them, and over
    # products that share them.
    del model.graph.value_info[:]
    _unshare(model.graph)
    with tempfile.TemporaryDirectory(prefix="choreo-bench-") as folder:
        target = Path(folder) / "int8.onnx"
        quantize_dynamic(model, target, op_types_to_quantize=["MatMul", "Gemm"], weight_type=QuantType.QInt8)
        return _onnxruntime(target, options)


def _unshare(graph: onnx.GraphProto) -> None:
    """Give every node weights of its own."""
    weights, seen = {weight.name: weight for weight in graph.initializer}, set()
    for node in graph.node:
        for place, name in enumerate(node.input):
            if name in weights and name in seen:
                own = graph.initializer.add()
                own.CopyFrom(weights[name])
                own.name = node.input[place] = f"{name}_of_{node.name}_{place}"
            seen.add(name)


if __name__ == "__main__":
    sys.exit(main())
