"""The report of an evaluation: tables on a terminal, and a folder with Markdown, HTML, plots and example films."""

import html
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from choreo.diffusion.presets import preset
from choreo.evaluation.motions import Motions
from choreo.evaluation.scorecard import METRICS, Row
from choreo.files import atomic_write
from choreo.motion.formats.mp4 import write_preview
from serving.evaluation import plots
from serving.evaluation.harness import Evaluation
from serving.evaluation.subjects import Judge, solos
from serving.evaluation.targets import Verdict

EXAMPLES: Final = 3
CLIP_PIXELS: Final = (480, 480)
MARKS: Final = {True: "met", False: "missed", None: "open"}
TARGET_COLUMNS: Final = ("check", "measured", "target", "")
_STYLE: Final = """
body{font:15px/1.5 system-ui,sans-serif;max-width:1200px;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse;font-size:13px;margin:1rem 0;display:block;overflow-x:auto}
td,th{padding:.25rem .6rem;border-bottom:1px solid #ddd;text-align:right;white-space:nowrap}
td:first-child,th:first-child{text-align:left}.clips{display:flex;flex-wrap:wrap;gap:1rem}
figure{margin:0}video{width:260px}figcaption{font-size:12px;max-width:260px}
.met{color:#1a7f37}.missed{color:#b42318}.open{color:#777}
"""


def print_tables(found: Evaluation, console: Console) -> None:
    """Print one row per metric and subject, then the targets."""
    table = Table("metric", "subject", "value", "± 95 %", "n", "note")
    for row in found.rows:
        interval = "" if row["ci95"] is None else f"{row['ci95']:.3g}"
        table.add_row(row["metric"], row["subject"], f"{row['value']:.3g}", interval, str(row["n"]), row["note"])
    console.print(table)
    targets = Table(*TARGET_COLUMNS)
    for verdict in found.verdicts:
        targets.add_row(verdict["target"], verdict["found"], verdict["asked"], MARKS[verdict["met"]])
    console.print(targets)


def write_report(found: Evaluation, folder: Path) -> None:
    """Write `report.md`, `index.html`, `evaluation.json`, plots and example films, each whole or not at all.

    Raises:
        PreviewFailed: a film could not be encoded.
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    document = json.dumps(found.document(), indent=1) + "\n"
    atomic_write(folder / "evaluation.json", document.encode())
    atomic_write(folder / "report.md", markdown(found).encode())
    pictures = _pictures(found)
    for name, picture in pictures.items():
        atomic_write(folder / f"{name}.svg", picture.encode())
    atomic_write(folder / "index.html", _page(found, pictures, _clips(found, folder)).encode())


def markdown(found: Evaluation) -> str:
    """The tables as Markdown: a row per metric and a column per subject."""
    parts = [f"# Evaluation\n\n{_facts(found)}\n", _markdown_table(*_by_subject(found.rows))]
    parts.append(_markdown_table(*_targets(found.verdicts)))
    notes = [f"* {name}: {note}" for name, note in _notes(found.rows).items()]
    return "\n".join([*parts, "Notes on the scores of the generated dances:\n", *notes]) + "\n"


def _facts(found: Evaluation) -> str:
    request, options = found.request, found.request.options
    generator = request.url or (str(request.checkpoint) if request.checkpoint else "the shipped checkpoint")
    chosen = preset(options.preset)
    steps = options.num_steps or chosen.num_steps
    extras = "" if options.use_rag else ", without retrieved phrases"
    extras += "" if options.finished else ", without post-processing"
    return (
        f"{generator}: {len(found.stretches)} held-out stretches, {request.replications} replication(s), "
        f"{chosen.sampler} with {steps} steps, guidance {options.guidance_scale:g}{extras}."
    )


def _by_subject(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    subjects = list(dict.fromkeys(row["subject"] for row in rows))
    cells = {(row["metric"], row["subject"]): row for row in rows}
    lines = []
    for metric in METRICS:
        found = [cells.get((metric.name, subject)) for subject in subjects]
        if any(found):
            lines.append([f"{metric.name} ({metric.better})", *("" if row is None else _score(row) for row in found)])
    return ["metric", *subjects], lines


def _score(row: Row) -> str:
    return f"{row['value']:.3g}" + ("" if row["ci95"] is None else f" ± {row['ci95']:.2g}")


def _targets(verdicts: Sequence[Verdict]) -> tuple[Sequence[str], list[list[str]]]:
    lines = [[v["target"], v["found"], v["asked"], MARKS[v["met"]]] for v in verdicts]
    return TARGET_COLUMNS, lines


def _notes(rows: Sequence[Row]) -> dict[str, str]:
    return {row["metric"]: row["note"] for row in rows if row["subject"] == "generated" and row["note"]}


def _markdown_table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def _pictures(found: Evaluation) -> dict[str, str]:
    judge = Judge(found.stretches, None)
    dances = [d.performance for d in found.dances]
    real = judge.motions("real", solos([s.positions for s in found.stretches]), judge.beats)
    made = judge.motions("generated", dances, judge.beats)
    other = judge.motions("other music", dances, judge.foreign_beats)
    return {
        "scores": plots.scores(found.rows),
        "beats": plots.speed_around_beats([(m.name, m.positions, _beats(m)) for m in (real, made, other)]),
        "spread": plots.among_real([(m.name, m.positions) for m in (real, made)]),
    }


def _beats(motions: Motions) -> list[NDArray[np.float64] | None]:
    return [None if beats is None else np.asarray(beats, np.float64) for beats in motions.beats or ()]


def _clips(found: Evaluation, folder: Path) -> list[tuple[str, str]]:
    """Write films of a few stretches and of their dances; file name and caption of each."""
    films = []
    for i in np.linspace(0, len(found.stretches) - 1, min(EXAMPLES, len(found.stretches))).astype(int):
        prompt = found.stretches[i].prompt
        (real,) = solos([found.stretches[i].positions])
        for kind, performance in (("real", real), ("generated", found.dances[i].performance)):
            name, title = f"{kind}_{i}.mp4", f"{kind}: {prompt}"
            write_preview(performance, folder / name, title=title, size=CLIP_PIXELS)
            films.append((name, title))
    return films


def _page(found: Evaluation, pictures: dict[str, str], films: Sequence[tuple[str, str]]) -> str:
    clips = "".join(
        f'<figure><video src="{name}" controls loop muted></video>'
        f"<figcaption>{html.escape(title)}</figcaption></figure>"
        for name, title in films
    )
    targets = "".join(
        f"<tr><td>{html.escape(v['target'])}</td><td>{html.escape(v['found'])}</td><td>{html.escape(v['asked'])}</td>"
        f'<td class="{MARKS[v["met"]]}">{MARKS[v["met"]]}</td></tr>'
        for v in found.verdicts
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Evaluation</title><style>{_STYLE}</style>'
        f"<h1>Evaluation</h1><p>{html.escape(_facts(found))}</p><table>{targets}</table>"
        f'<div class="clips">{clips}</div>{pictures["scores"]}{pictures["beats"]}{pictures["spread"]}'
        f"{_html_table(*_by_subject(found.rows))}</html>\n"
    )


def _html_table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    def cells(row: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in row) + "</tr>"

    return "<table>" + cells(head, "th") + "".join(cells(line, "td") for line in lines) + "</table>"
