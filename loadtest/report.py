"""The report of a load test: a JSON document, a page and a table in Markdown."""

import html
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from choreo.files import atomic_write
from loadtest import plots
from loadtest.figures import Figures
from loadtest.runs import Run

HEAD: Final = ("run", "offered /s", "served /s", "motion s/s", "p50 s", "p90 s", "p95 s", "p99 s", "max s", "served",
               "refused", "shed", "failed", "dropped", "unfinished", "goodput", "lag p99 ms", "lag max ms")  # fmt: skip
KIND_HEAD: Final = ("run", "kind", "requests", "p50 s", "p95 s", "max s")
ERROR_HEAD: Final = ("run", "what went wrong", "requests")
PICTURES: Final = {
    "Latency over time": plots.latency_over_time,
    "Latency by percentile": plots.percentile_curve,
    "Throughput against offered load": plots.throughput,
    "What went wrong": plots.errors_by_kind,
}
_STYLE: Final = """
body{font:15px/1.5 system-ui,sans-serif;max-width:1200px;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse;font-size:13px;margin:1rem 0;display:block;overflow-x:auto}
td,th{padding:.25rem .6rem;border-bottom:1px solid #ddd;text-align:right;white-space:nowrap}
td:first-child,th:first-child{text-align:left}figure{margin:0}svg{max-width:100%;height:auto}
.pictures{display:grid;grid-template-columns:repeat(auto-fit,minmax(440px,1fr));gap:1rem}
.wrong{color:#b42318}
"""


@dataclass(frozen=True)
class Report:
    """What is reported.

    Attributes:
        command: the command line of the same test.
        missed: thresholds that were missed, a line each.
        distrusted: why runs are not to be trusted, a line each.
        interrupted: whether a signal ended it.
    """

    url: str
    scenario: str
    command: str
    runs: Sequence[Run]
    missed: Sequence[str]
    distrusted: Sequence[str]
    interrupted: bool

    def document(self) -> dict[str, Any]:
        """As JSON values."""
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
        """Write `report.json`, `report.md` and `report.html`; each file whole or not at all."""
        files = {
            "report.json": json.dumps(self.document(), indent=1, allow_nan=False) + "\n",
            "report.md": self.markdown(),
            "report.html": self.page(),
        }
        for name, text in files.items():
            atomic_write(folder / name, text.encode())
        return [folder / name for name in files]

    def markdown(self) -> str:
        """The tables and what was missed."""
        parts = [f"# Load test: {self.scenario}\n", f"`{self.command}`\n", *(f"* {line}" for line in self._remarks())]
        return "\n".join([*parts, "", *(_markdown_table(*table) for table in self._tables())])

    def page(self) -> str:
        """The same with pictures, as one file that needs no other."""
        remarks = "".join(f'<p class="wrong">{html.escape(line)}</p>' for line in self._remarks())
        tables = "".join(_html_table(*table) for table in self._tables())
        pictures = "".join(f"<figure><h2>{title}</h2>{draw(self.runs)}</figure>" for title, draw in PICTURES.items())
        return (
            f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Load test</title><style>{_STYLE}</style>'
            f"<h1>Load test: {html.escape(self.scenario)}</h1><p><code>{html.escape(self.command)}</code></p>"
            f'{remarks}{tables}<div class="pictures">{pictures}</div></html>\n'
        )

    def _remarks(self) -> list[str]:
        stopped = ["stopped by a signal: the figures are of what there was until then"] if self.interrupted else []
        return [*stopped, *self.distrusted, *(f"missed {line}" for line in self.missed)]

    def _tables(self) -> list[tuple[Sequence[str], list[list[str]]]]:
        every = [run.figures for run in self.runs]
        errors = [[f.label, name, str(count)] for f in every for name, count in f.errors.items()]
        kinds = [row for f in every for row in _kind_rows(f)]
        tables = [(HEAD, [_row(f) for f in every]), (KIND_HEAD, kinds), (ERROR_HEAD, errors)]
        return [table for table in tables if table[1]]


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


def _markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"


def _html_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    return f"<table>{line(head, 'th')}{''.join(line(row, 'td') for row in rows)}</table>"
