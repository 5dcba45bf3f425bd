"""The sizing of the page: its figures are those that were measured, and what is derived from them is so."""

import re

import pytest
from deploy_files import ROOT

PERFORMANCE = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
PAGE = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")


def cells(page: str, first: str) -> list[str]:
    """A table's row by its first cell, without it."""
    [row] = re.findall(rf"^\| {re.escape(first)}[^|\n]*\|(.*)\|$", page, re.MULTILINE)
    return [cell.strip() for cell in row.split("|")]


def figures(first: str) -> tuple[float, float]:
    """Of `reference` and of `fast`."""
    reference, fast = cells(PAGE, first)
    return float(reference), float(fast)


@pytest.mark.parametrize(
    ("ours", "measured"),
    [("all processes", "all"), ("of these Triton", "tritonserver"), ("of these the ingress", "Ingress")],
)
def test_processor_times_are_the_measured_ones(ours: str, measured: str) -> None:
    times = re.findall(rf"^\| {measured}[^|\n]*\|(.*)\|$", PERFORMANCE, re.MULTILINE)
    assert list(cells(PAGE, ours)) in [[row.split("|")[2].strip(), row.split("|")[4].strip()] for row in times]


def test_the_rest_is_derived_from_them() -> None:
    of_all, triton, ingress = figures("all processes"), figures("of these Triton"), figures("of these the ingress")
    for i, (all_ms, triton_ms, ingress_ms) in enumerate(zip(of_all, triton, ingress, strict=True)):
        assert figures("the other stages")[i] == pytest.approx(all_ms - triton_ms - ingress_ms)
        assert figures("motions a second and core: 1000 / all")[i] == pytest.approx(1000 / all_ms, rel=0.02)
        assert figures("motions a second and core of Triton")[i] == pytest.approx(1000 / triton_ms, rel=0.02)
        assert figures("one ingress is full")[i] == pytest.approx(1000 / ingress_ms, rel=0.02)
        measured, share = map(float, cells(PAGE, "measured on two cores")[i].split("; "))
        assert share == pytest.approx(measured / (2 * 1000 / all_ms), abs=0.01)
    for figure in ("11.3 (5.7)", "78.6 (0.24)"):
        assert figure in PERFORMANCE


def test_the_example_adds_up() -> None:
    slower = 0.214 / 0.187
    assert slower == pytest.approx(1.14, abs=0.01)
    assert 50 * 0.015 * slower / 0.8 == pytest.approx(1.1, abs=0.05)
    assert pytest.approx(3.1, abs=0.05) == 50 * (0.064 - 0.015) / 0.8
    for figure in ("| 0.214 |", "| 0.187 |", "took 51 ms of processor time instead of 64", "38 a second instead of 30"):
        assert figure in re.sub(r"\s+", " ", PERFORMANCE)
    assert pytest.approx(50_800, rel=0.01) == 10 * 2**30 / 211_152
