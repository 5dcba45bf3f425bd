"""The report of a load test: a JSON document, an HTML page, and tables in Markdown."""

import html
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from choreo.files import atomic_write
from choreo.reporting.page import page, paragraph, plots
from choreo.reporting.tables import Table
from loadtest.figures import Figures
from loadtest.plots import errors_by_kind, latency_over_time, percentile_curve, throughput
from loadtest.runs import Run

HEAD: Final = ("run", "offered /s", "served /s", "motion s/s", "p50 s", "p90 s", "p95 s", "p99 s", "max s", "served",
               "refused", "shed", "failed", "dropped", "unfinished", "goodput", "lag p99 ms", "lag max ms")  # fmt: skip
KIND_HEAD: Final = ("run", "kind", "requests", "p50 s", "p95 s", "max s")
ERROR_HEAD: Final = ("run", "error", "requests")
PLOTS: Final = {
    "Latency over time": latency_over_time,
    "Latency by percentile": percentile_curve,
    "Throughput against offered load": throughput,
    "Errors": errors_by_kind,
}


@dataclass(frozen=True)
class Report:
    """What is reported.

    Attributes:
        command: the command line that repeats the test.
        missed: thresholds that were missed, one line each.
        distrusted: why runs are not trustworthy, one line each.
        interrupted: whether a signal ended the test.
    """

    url: str
    scenario: str
    command: str
    runs: Sequence[Run]
    missed: Sequence[str]
    distrusted: Sequence[str]
    interrupted: bool

    def document(self) -> dict[str, Any]:
        """The report as JSON values."""
        runs = [run.figures.document() | {"rate": run.rate, "samples": str(run.path)} for run in self.runs]
        return {
            "url": self.url,
            "scenario": self.scenario,
            "command": self.command,
            "interrupted": self.interrupted,
            "trustworthy": not self.distrusted,
            "distrusted": list(self.distrusted),
            "missed": list(self.missed),
            "runs": runs,
        }

    def write(self, folder: Path) -> list[Path]:
        """Write `report.json`, `report.md` and `report.html`, each whole or not at all, and return their paths."""
        files = {
            "report.json": json.dumps(self.document(), indent=1, allow_nan=False) + "\n",
            "report.md": self.markdown(),
            "report.html": self.page(),
        }
        for name, text in files.items():
            atomic_write(folder / name, text.encode())
        return [folder / name for name in files]

    def markdown(self) -> str:
        """The tables, and what was missed."""
        parts = [f"# Load test: {self.scenario}\n", f"`{self.command}`\n", *(f"* {line}" for line in self._remarks())]
        return "\n".join([*parts, "", *(table.markdown() for table in self._tables())])

    def page(self) -> str:
        """The same with plots, as one HTML file that loads nothing."""
        command = f"<p><code>{html.escape(self.command)}</code></p>"
        remarks = "".join(paragraph(line, "missed") for line in self._remarks())
        tables = "".join(table.html() for table in self._tables())
        pictures = plots({title: draw(self.runs) for title, draw in PLOTS.items()})
        return page("Load test", f"Load test: {self.scenario}", command + remarks + tables + pictures)

    def _remarks(self) -> list[str]:
        stopped = ["stopped by a signal: the figures cover the run up to then"] if self.interrupted else []
        return [*stopped, *self.distrusted, *(f"missed {line}" for line in self.missed)]

    def _tables(self) -> list[Table]:
        every = [run.figures for run in self.runs]
        errors = [[f.label, name, str(count)] for f in every for name, count in f.errors.items()]
        kinds = [row for f in every for row in _kind_rows(f)]
        tables = [Table(HEAD, [_row(f) for f in every]), Table(KIND_HEAD, kinds), Table(ERROR_HEAD, errors)]
        return [table for table in tables if table.rows]


def _row(found: Figures) -> list[str]:
    spread, lag = found.latency, found.lag
    good = "–" if found.good_share is None else f"{100 * found.good_share:.1f} %"
    rates = (found.offered_per_s, found.served_per_s, found.motion_s_per_s)
    return [
        found.label,
        *(f"{rate:.3g}" for rate in rates),
        *(_seconds(value) for value in (spread.p50, spread.p90, spread.p95, spread.p99, spread.max)),
        *(str(count) for count in found.outcomes.values()),
        good,
        *(_milliseconds(value) for value in (lag.p99, lag.max)),
    ]


def _kind_rows(found: Figures) -> Iterable[list[str]]:
    for name, kind in found.kinds.items():
        spread = kind.latency
        yield [found.label, name, str(kind.requests), *map(_seconds, (spread.p50, spread.p95, spread.max))]


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _milliseconds(value: float | None) -> str:
    return "–" if value is None else f"{1000 * value:.1f}"
