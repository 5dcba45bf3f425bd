"""Rows of the report from measured cells: medians over rounds, and ratios within a round."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from bench.peers.table import BASELINE
from bench.raw_engine import Raw
from bench.report import Row, skipped
from bench.serving_load import Cell
from loadtest.samples import Outcome

RATIOS: Final = ("motions_per_s", "p50_s", "p95_s", "cpu_s_per_motion")
WORTH_NAMING: Final = 0.01
"""Share of a peer's processor time above which a kind of process gets its own row."""
_UNITS: Final = (
    ("motions_per_s", "motions/s"),
    ("motion_seconds_per_s", "s/s"),
    ("evaluations_per_s", "rows/s"),
    ("per_motion", "s"),
    ("_mib", "MiB"),
    ("_gflops", "GFLOP/s"),
    ("_mm", "mm"),
    ("_s", "s"),
)


@dataclass
class Round:
    """Measurements of one round: the raw engine, and cells by peer and load."""

    raw: Raw
    cells: dict[tuple[str, str], Cell] = field(default_factory=dict)


@dataclass
class Findings:
    """Measurements of the whole run.

    Attributes:
        gflop_per_row: GFLOP per row of the denoiser.
        difference_mm: by peer, the largest distance of its first motion from that of the engine in this process.
        failures: peers that could not be measured in a round, and why.
    """

    gflop_per_row: float
    rounds: list[Round] = field(default_factory=list)
    difference_mm: dict[str, float] = field(default_factory=dict)
    failures: list[tuple[str, str]] = field(default_factory=list)

    def best_throughput(self, peers: Sequence[str]) -> float:
        """Motions per second of the best closed loop of these peers, medians over rounds; 0 if there is none."""
        cases = {case for one in self.rounds for case, cell in one.cells.items() if cell.load.users}
        of = (self._median(case) for case in cases if case[0] in peers)
        return max(of, default=0.0)

    def _median(self, case: tuple[str, str]) -> float:
        return float(np.median([one.cells[case].figures.served_per_s for one in self.rounds if case in one.cells]))


def rows_of(found: Findings) -> Iterator[Row]:
    """All rows: the raw engine, every case, its ratios, and peers that could not be measured."""
    yield from _raw_rows(found)
    cases = list(dict.fromkeys(case for one in found.rounds for case in one.cells))
    for case in cases:
        mine = [one for one in found.rounds if case in one.cells]
        name = "/".join(case)
        yield from _rows(name, [metrics(one.cells[case], found.gflop_per_row) for one in mine])
        yield from _rows(name, [ratios(one, case, found.gflop_per_row) for one in mine])
    for peer, difference in found.difference_mm.items():
        yield Row(peer, "difference_mm", difference, "mm")
    for peer, reason in found.failures:
        yield skipped(peer, reason)


def metrics(cell: Cell, gflop_per_row: float) -> dict[str, float | None]:
    """Figures of one cell; None where no request was served.

    `engine_fraction_of_cpu` is the processor time of the raw engine for these rows over that of all processes.
    """
    if not cell.figures.requests:  # a Poisson process may have no arrivals
        return {"requests": 0.0}
    of, latency = cell.figures, cell.figures.latency
    rows = of.served_per_s * cell.denoiser_rows
    served = of.outcomes[Outcome.SERVED.value]
    spent = sum(cell.cpu_s.values())
    out: dict[str, float | None] = {
        "motions_per_s": of.served_per_s,
        "motion_seconds_per_s": of.motion_s_per_s,
        "offered_motions_per_s": cell.load.rate or None,
        "p50_s": latency.p50,
        "p95_s": latency.p95,
        "p99_s": latency.p99,
        "evaluations_per_s": rows,
        "fraction_of_raw_engine": rows / cell.around.rows_per_s,
        "fraction_of_gemm_peak": rows * gflop_per_row / cell.around.sgemm_gflops,
        "cpu_s_per_motion": spent / served if served else None,
        "engine_fraction_of_cpu": _quotient(served * cell.denoiser_rows * cell.around.cpu_s_per_row, spent),
        "client_cpu_s_per_motion": cell.client_cpu_s / served if served else None,
        "cores_used": spent / of.seconds,
        "peak_mib": cell.peak_mib,
        "client_lag_p99_s": of.lag.p99,
        "requests": float(of.requests),
        "shed": float(of.outcomes[Outcome.SHED.value]),
        "errors": float(of.requests - served - of.outcomes[Outcome.SHED.value]),
    }
    for name, seconds in sorted(cell.cpu_s.items(), key=lambda item: -item[1]):
        if served and seconds > WORTH_NAMING * spent:
            out[f"cpu_s_per_motion of {name}"] = seconds / served
    return out


def ratios(one: Round, case: tuple[str, str], gflop_per_row: float) -> dict[str, float | None]:
    """Ratios of a case within a round, while the machine was the same.

    Every case over the documents' server under the same load, a single request over the engine in this process, and a
    song over its peer's best closed loop.
    """
    peer, load = case
    mine = metrics(one.cells[case], gflop_per_row)
    out: dict[str, float | None] = {}
    baseline = one.cells.get((BASELINE, load))
    if baseline is not None and peer != BASELINE:
        theirs = metrics(baseline, gflop_per_row)
        out |= {f"{name} / {BASELINE}": _quotient(mine.get(name), theirs.get(name)) for name in RATIOS}
    if load == "1" and peer in one.raw.alone_s:
        out["p50_s / in process"] = _quotient(mine.get("p50_s"), one.raw.alone_s[peer])
    if load == "song":
        windows = [c for (p, _), c in one.cells.items() if p == peer and c.load.users > 1]
        best = max((c.figures.served_per_s * c.denoiser_rows for c in windows), default=0.0)
        out["evaluations_per_s / windows apart"] = _quotient(mine.get("evaluations_per_s"), best)
    return out


def _quotient(a: float | None, b: float | None) -> float | None:
    return None if a is None or not b else a / b


def _raw_rows(found: Findings) -> Iterator[Row]:
    raws = [one.raw for one in found.rounds]
    if not raws:
        return
    yield Row("engine", "gflop_per_row", found.gflop_per_row, "GFLOP")
    for batch in raws[0].rows_per_s:
        yield from _rows(f"engine/{batch}", [_raw_metrics(found, raw.rows_per_s[batch], raw) for raw in raws])
    yield from _rows("engine/best", [_raw_metrics(found, raw.best, raw) for raw in raws])
    yield from _rows("machine", [{"sgemm_gflops": raw.sgemm_gflops} for raw in raws])
    for name in raws[0].alone_s:
        yield from _rows(f"in process/{name}", [{"motion_s": raw.alone_s[name]} for raw in raws])


def _raw_metrics(found: Findings, rows_per_s: float, raw: Raw) -> dict[str, float | None]:
    gflops = rows_per_s * found.gflop_per_row
    return {
        "evaluations_per_s": rows_per_s,
        "engine_gflops": gflops,
        "fraction_of_gemm_peak": gflops / raw.sgemm_gflops,
    }


def _rows(case: str, rounds: Sequence[Mapping[str, float | None]]) -> Iterator[Row]:
    """A row per metric: the median of the rounds that have it; counts of requests and failures are summed."""
    for name in dict.fromkeys(name for one in rounds for name in one):
        values = [value for one in rounds if (value := one.get(name)) is not None]
        if values:
            total = name in ("requests", "shed", "errors")
            yield Row(case, name, float(sum(values) if total else np.median(values)), unit(name))
    throughput = [value for one in rounds if (value := one.get("motions_per_s"))]
    if len(throughput) > 1:
        spread = (max(throughput) - min(throughput)) / float(np.median(throughput))
        yield Row(case, "motions_per_s_spread", spread, "of the median")


def unit(metric: str) -> str:
    """Unit of a metric by its name; ratios and counts have none."""
    if " / " in metric:
        return ""
    plain = metric.partition(" of ")[0]
    return next((unit for end, unit in _UNITS if plain.endswith(end)), "")
