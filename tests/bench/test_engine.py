"""The whole benchmark on a denoiser of one matrix product."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from native_engine import build_denoiser, needs_compiler, small_denoiser, some_inputs, torch_rows

from bench import contenders, engine, raw_engine
from export.engine_options import EngineOptions


@pytest.fixture
def root(one_product: tuple[Path, SimpleNamespace], monkeypatch: pytest.MonkeyPatch) -> Path:
    root, generator = one_product
    monkeypatch.setattr(engine, "load_generator", lambda path: generator)
    monkeypatch.setattr(engine, "build_repository", lambda *_: None)
    monkeypatch.setattr(raw_engine, "SQUARES", (64,))
    return root


def measure(root: Path, capsys: pytest.CaptureFixture[str]) -> dict[tuple[str, str], Any]:
    assert engine.main(["--repository", str(root), "--batches", "1,4", "--rounds", "3", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["command"] == f"choreo bench engine --repository {root} --batches 1,4 --rounds 3 --json"
    return {(row["case"], row["metric"]): row["value"] for row in document["rows"]}


def test_every_contender_is_measured_at_every_batch(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = measure(root, capsys)
    peak, work = rows["machine", "sgemm"], rows["denoiser", "work"]
    assert work == 2 * 16 * 8 * 8 / 1e9
    exact = set(engine.onnx_contenders(EngineOptions(batch_rows=8)))
    names = {case.rpartition("/")[0] for case, metric in rows if metric == "rate"}
    assert exact | {engine.TORCH, engine.INT8} <= names
    for name in names:
        for batch in (1, 4):
            rate = rows[f"{name}/{batch}", "rate"]
            assert rate > 0
            assert rows[f"{name}/{batch}", "of sgemm peak"] == pytest.approx(rate * work / peak)
    assert rows[f"{engine.PRESENT}/4", "over present"] == 1.0
    assert rows[engine.PRESENT, "largest error"] < 1e-5 < rows[engine.INT8, "largest error"] < 0.5
    profiled = {metric: value for (case, metric), value in rows.items() if case.startswith("profile of onnxruntime")}
    assert "MatMul" in profiled
    assert (contenders.NATIVE, "skipped") in rows
    assert sum(profiled.values()) == pytest.approx(1)


@needs_compiler
def test_the_compiled_engine_is_a_contender(tmp_path: Path) -> None:
    denoiser, spec = small_denoiser()
    build_denoiser(denoiser, spec, tmp_path)
    runs, inputs = contenders.native_engine(tmp_path, EngineOptions(instances=2)), some_inputs(spec, 5)
    np.testing.assert_allclose(runs.pop(contenders.NATIVE)(inputs), torch_rows(denoiser, inputs), atol=1e-5)
    (renewed,) = runs.values()
    assert not np.allclose(renewed(inputs), torch_rows(denoiser, inputs), atol=1e-5)
    shares = engine.native_profile(tmp_path, inputs)
    assert sum(shares.values()) == pytest.approx(1)
    assert {"product", "convolution", "self_attention", "cross_attention"} <= shares.keys()


def test_without_openvino_there_is_a_row_that_says_so(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    rows = measure(root, capsys)
    assert ("openvino", "skipped") in rows
    assert not any(case.startswith("openvino/") for case, _ in rows)


def test_each_contender_differs_from_the_present_one_in_one_option() -> None:
    present = EngineOptions(instances=7, batch_rows=8)
    found = engine.onnx_contenders(present)
    assert found.pop(engine.PRESENT) == present
    assert "onnxruntime instances=0" in found
    for name, options in found.items():
        changed = {k: v for k, v in options.model_dump().items() if v != getattr(present, k)}
        assert [f"onnxruntime {k}={v}" for k, v in changed.items()] == [name]


def test_the_ratio_is_the_median_over_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    now, costs = [0.0], {engine.PRESENT: iter([0.0, 2.0, 4.0, 90.0]), "other": iter([0.0, 1.0, 2.0, 30.0])}

    def calling(name: str) -> contenders.Run:
        def run(inputs: contenders.Inputs) -> Any:
            now[0] += next(costs[name])

        return run

    monkeypatch.setattr(engine, "time", SimpleNamespace(perf_counter=lambda: now[0], sleep=lambda s: None))
    found = engine.alternated({name: calling(name) for name in costs}, {"x": np.zeros((8, 1), np.float32)}, 3)
    assert found == {engine.PRESENT: engine.Measured(2.0, 1.0), "other": engine.Measured(4.0, 2.0)}


@pytest.mark.parametrize("argv", [["--batches", "many"], ["--batches", "0"], ["--batches", "4096"], ["--rounds", "0"]])
def test_senseless_arguments_exit_with_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert engine.main(argv) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"choreo: {argv[0][2:]}:")
