"""The denoiser, or whatever graph a generator evaluates at every step, under the compiled engine and other runtimes.

All contenders are called in turn, forwards and backwards, round after round. A contender's rate is that of its median
call; `over present` is the median over rounds of the time of the repository's ONNX Runtime options over its own.
`of sgemm peak` counts the operations of matrix products and convolutions as the network defines them, whatever a
runtime saves of them, over the best float32 matrix product of the same run. The compiled engine reuses the attention
contexts of the call before, as in serving; `new contexts` has others at every call. Profiles are shares of the time in
operators, by type, of the fastest exact options of ONNX Runtime and of the compiled engine. Errors are in units of
normalised features.
"""

import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import typer

from bench.command import CHECKPOINT, ROUNDS, benchmark
from bench.contenders import (
    NATIVE,
    Exported,
    Inputs,
    Run,
    int8_products,
    native_engine,
    onnx_runtime,
    open_vino,
    random_inputs,
    step_graph,
    torch_eager,
)  # fmt: skip
from bench.raw_engine import gflop_per_row, sgemm_gflops
from bench.report import Row, skipped
from choreo.command_line import numbers, say
from choreo.generators.checkpoint import load_generator
from export.build import build_repository
from export.engine_options import EngineOptions
from export.native.loader import NativeSession, NativeUnavailable
from export.tuning import PAUSE_S, changes, contenders
from serving.settings import Settings

TORCH: Final = "torch eager"
PRESENT: Final = "onnxruntime present"
INT8: Final = "onnxruntime int8"
_PROFILED: Final = 10


@dataclass(frozen=True)
class Measured:
    """One contender at one batch size: rows per second, and the speed-up over the present configuration."""

    rows_per_s: float
    ratio: float


@benchmark
def main(
    batches: Annotated[str, typer.Option(help="Rows per call, separated by commas.")] = "1,8,16,32,64",
    rounds: Annotated[int, ROUNDS] = 15,
    checkpoint: Annotated[Path | None, CHECKPOINT] = None,
    repository: Annotated[Path | None, typer.Option(help="Its model repository; omitted: the program's own.")] = None,
) -> Iterator[Row]:
    """Rates, ratios, errors and profiles of all contenders."""
    sizes = sorted(numbers("batches", batches, 1, 1024))
    settings = Settings()
    weights, root = checkpoint or settings.weights, repository or settings.model_repo
    build_repository(weights, root)
    network = load_generator(weights)
    step = step_graph(network.spec)
    of = Exported.of(network, step, root)
    module, graph, present = of.module, of.graph, of.options
    options = onnx_contenders(present)
    runs = {TORCH: torch_eager(module)}
    runs |= {name: onnx_runtime(graph, choice) for name, choice in options.items()}
    try:
        runs |= native_engine(graph.parent, present)
    except NativeUnavailable as error:
        yield skipped(NATIVE, str(error))
    others = open_vino(graph, present)
    if not others:
        yield skipped("openvino", "openvino is not installed: pip install openvino")
    runs |= others
    runs[INT8] = int8_products(graph, present)
    peaks, measured = [sgemm_gflops()], {}
    for batch in sizes:
        say(f"batch {batch}, {len(runs)} contenders, {rounds} rounds")
        measured[batch] = alternated(runs, random_inputs(step, batch), rounds)
        peaks.append(sgemm_gflops())
    yield Row(step.name, "work", work := gflop_per_row(module, step), "GFLOP/row")
    yield from _rates(measured, float(np.median(peaks)), work)
    yield from _errors(runs, random_inputs(step, sizes[-1]))
    rates = {(name, batch): found[name].rows_per_s for batch, found in measured.items() for name in options}
    name, batch = max(rates, key=lambda case: rates[case])
    inputs = random_inputs(step, batch)
    yield from _shares(f"profile of {name}/{batch}", profile(graph, options[name], inputs))
    if NATIVE in runs:
        yield from _shares(f"profile of {NATIVE}/{batch}", native_profile(graph.parent, inputs))


def onnx_contenders(present: EngineOptions) -> dict[str, EngineOptions]:
    """The present options of ONNX Runtime, and those with one option changed, by name."""
    tried = [(name, value) for options in contenders() for name, value in changes(options).items()]
    usual = [(name, getattr(EngineOptions(), name)) for name in dict(tried)]
    out = {PRESENT: present}
    for name, value in (*usual, *tried):
        if value != getattr(present, name):
            out[f"onnxruntime {name}={value}"] = present.model_copy(update={name: value})
    return out


def alternated(runs: Mapping[str, Run], inputs: Inputs, rounds: int) -> dict[str, Measured]:
    """Time one call of every contender per round, after a warm-up call each; `runs` must include `PRESENT`."""
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
    """Share of ONNX Runtime's time in operators by type, largest first."""
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
    return _normalised(spent)


def native_profile(folder: Path, inputs: Inputs) -> dict[str, float]:
    """Share of the compiled engine's time in operators by type, largest first."""
    session = NativeSession(folder)
    session.profile()
    for _ in range(_PROFILED):
        session.run(None, inputs)
    spent: dict[str, float] = {}
    for op, seconds in session.profile():
        spent[op] = spent.get(op, 0.0) + seconds
    return _normalised(spent)


def _normalised(spent: Mapping[str, float]) -> dict[str, float]:
    total = sum(spent.values()) or 1
    return {op: spent[op] / total for op in sorted(spent, key=lambda op: -spent[op])}


def _shares(case: str, shares: Mapping[str, float]) -> Iterator[Row]:
    yield from (Row(case, op, share, "of time in operators") for op, share in shares.items())


def _rates(measured: Mapping[int, Mapping[str, Measured]], peak: float, gflop: float) -> Iterator[Row]:
    yield Row("machine", "sgemm", peak, "GFLOP/s")
    for batch, found in measured.items():
        for name, one in found.items():
            yield Row(f"{name}/{batch}", "rate", one.rows_per_s, "rows/s")
            yield Row(f"{name}/{batch}", "of sgemm peak", one.rows_per_s * gflop / peak, "")
            yield Row(f"{name}/{batch}", "over present", one.ratio, "")


def _errors(runs: Mapping[str, Run], inputs: Inputs) -> Iterator[Row]:
    """Largest difference from torch in float32 in one call."""
    expected = runs[TORCH](inputs)
    for name in (PRESENT, NATIVE, "openvino", "openvino static", INT8):
        if name in runs:
            yield Row(name, "largest error", float(np.abs(runs[name](inputs) - expected).max()), "normalised features")


if __name__ == "__main__":
    sys.exit(main())
