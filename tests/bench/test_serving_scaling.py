"""The simulated engine, and a short run of the benchmark of the step batch runner."""

import asyncio
import json

import pytest

from bench import scaling
from bench.scaling import GRAPH, SPEC, SimulatedEngine
from choreo.generators.base import Tensors, zeros


def test_the_engine_takes_calls_one_after_the_other_for_what_they_cost() -> None:
    async def run() -> tuple[SimulatedEngine, list[Tensors]]:
        engine = SimulatedEngine(0.001, 0.002)
        inputs = [zeros(GRAPH, rows) for rows in (4, 1)]
        inputs[0]["x"][:] = 3
        return engine, await asyncio.gather(*(engine.infer(SPEC.key(GRAPH.name), one) for one in inputs))

    engine, out = asyncio.run(run())
    assert engine.rows == 5
    assert engine.late_s > 0
    assert [len(values["x0"]) for values in out] == [4, 1]
    assert (out[0]["x0"] == 1.5).all()
    assert engine.cost(4) == pytest.approx(0.009)
    assert engine.best_rate(4) == pytest.approx(4 / 0.009)


def test_every_case_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert scaling.main(["--in-flight", "2,40", "--queued", "3,20", "--seconds", "0.1", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    found = {(row["case"], row["metric"]): row["value"] for row in rows}
    for case in ("rows/2", "rows/40"):
        assert 0 < found[case, "fraction_of_ideal"] <= 1.001
        assert found[case, "cpu_ms_per_row"] > 0
    for case in ("queued/3", "queued/20"):
        assert found[case, "cpu_ms_per_motion"] > 0
        assert found[case, "resident_mib"] > 1


@pytest.mark.parametrize(
    "argv", [["--in-flight", "3"], ["--in-flight", "x"], ["--queued", "0"], ["--seconds", "0"], ["--seconds", "nan"]]
)
def test_senseless_options_exit_with_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert scaling.main(argv) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"choreo: {argv[0].removeprefix('--')}:")
