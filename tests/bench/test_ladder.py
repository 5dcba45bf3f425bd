"""The ladder's order and sums with fake rungs, and its first rungs on a denoiser of one matrix product."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench import ladder
from bench.ladder import STEPS, TORCH, Rung, Speed, climb
from choreo.errors import BackendUnavailable


def fake_rung(name: str, motions: list[float], order: list[str]) -> Rung:
    values = iter(motions)

    def measure(seconds: float) -> Speed:
        order.append(name)
        return Speed(100 * seconds, next(values))

    return measure


def test_rungs_alternate_and_ratios_are_taken_within_a_round() -> None:
    order: list[str] = []
    speeds = {"a": [1.0, 2.0, 4.0], "b": [3.0, 2.0, 20.0]}
    rows = list(climb({name: fake_rung(name, motions, order) for name, motions in speeds.items()}, 3, 0.5))
    assert order == ["a", "b", "b", "a", "a", "b"]
    assert [(row.case, row.metric, row.value) for row in rows] == [
        ("a", "rows_per_s", 50.0), ("a", "motions_per_s", 2.0), ("a", "ratio", 1.0),
        ("b", "rows_per_s", 50.0), ("b", "motions_per_s", 3.0), ("b", "ratio", 3.0),
    ]  # fmt: skip


@pytest.fixture
def small(one_product: tuple[Path, SimpleNamespace], monkeypatch: pytest.MonkeyPatch) -> None:
    root, generator = one_product
    monkeypatch.setattr(ladder, "build_repository", lambda *_: None)
    monkeypatch.setattr(ladder, "load_generator", lambda path: generator)
    monkeypatch.setattr(ladder, "Settings", lambda: SimpleNamespace(weights=root, model_repo=root))


def measured(capsys: pytest.CaptureFixture[str]) -> dict[tuple[str, str], float]:
    assert ladder.main(["--rounds", "2", "--seconds", "0.1", "--json"]) == 0
    return {(row["case"], row["metric"]): row["value"] for row in json.loads(capsys.readouterr().out)["rows"]}


@pytest.mark.usefixtures("small")
def test_the_rungs_without_a_server_are_calls_of_the_denoiser(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @contextmanager
    def fake_server(graph: str) -> Iterator[dict[str, Rung]]:
        yield {"triton": lambda seconds: Speed(1000.0, 10.0), "fast": lambda seconds: Speed(500.0, 50.0)}

    monkeypatch.setattr(ladder, "served", fake_server)
    found = measured(capsys)
    assert ("compiled", "skipped") in found  # the network of the fixture is not a U-Net, and has no engine
    assert [case for case, metric in found if metric == "ratio"] == [TORCH, "onnx runtime", "batched", "triton", "fast"]
    assert found[TORCH, "ratio"] == 1
    for case in (TORCH, "onnx runtime", "batched"):
        assert found[case, "motions_per_s"] == pytest.approx(found[case, "rows_per_s"] / (2 * STEPS))
    assert found["fast", "ratio"] == pytest.approx(5 * found["triton", "ratio"])


@pytest.mark.usefixtures("small")
def test_a_server_that_cannot_start_is_a_row_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @contextmanager
    def fake_server(graph: str) -> Iterator[dict[str, Rung]]:
        raise BackendUnavailable("no Triton")
        yield {}

    monkeypatch.setattr(ladder, "served", fake_server)
    found = measured(capsys)
    assert ("triton", "skipped") in found
    assert ("batched", "ratio") in found


@pytest.mark.parametrize("argv", [["--rounds", "0"], ["--seconds", "0"], ["--seconds", "nan"]])
def test_senseless_options_exit_with_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert ladder.main(argv) == 2
    assert capsys.readouterr().err.startswith(f"choreo: {argv[0].removeprefix('--')}:")
