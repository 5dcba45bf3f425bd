"""The report of an evaluation: tables on a terminal, and a folder with Markdown, HTML, plots and example films."""

import html
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from choreo.diffusion.presets import preset
from choreo.evaluation.motions import Motions
from choreo.evaluation.scorecard import METRICS, Row
from choreo.files import atomic_write
from choreo.generators.checkpoint import read_config
from choreo.motion.formats.mp4 import write_preview
from choreo.reporting import page
from choreo.reporting.panels import NOT_ENOUGH
from choreo.reporting.tables import Table
from serving.evaluation import generators_table, plots
from serving.evaluation.harness import Evaluation
from serving.evaluation.named_models import NamedModel
from serving.evaluation.subjects import Judge, solos
from serving.evaluation.targets import Verdict

EXAMPLES: Final = 3
CLIP_PIXELS: Final = (480, 480)
MARKS: Final = {True: "met", False: "missed", None: "open"}
TARGET_COLUMNS: Final = ("check", "measured", "target", "")
_STYLE: Final = (
    ".clips{display:flex;flex-wrap:wrap;gap:1rem}video{width:260px}figcaption{font-size:12px;max-width:260px}"
)


def print_tables(found: Evaluation, console: Console) -> None:
    """Print one row per metric and subject, then the targets."""
    console.print(_scores(found.rows).terminal())
    console.print(_targets(found.verdicts).terminal())


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


def write_generators(found: Evaluation, folder: Path) -> None:
    """Write `generators.md` and `generators.svg`, which compare the generators of an evaluation of checkpoints.

    Raises:
        InvalidArtifact: a checkpoint cannot be read.
        OSError: the folder cannot be written.
    """
    first = found.request.checkpoint
    assert first is not None  # the first of the models
    name = NamedModel(first, found.request.options, found.request.way).subject(read_config(first).spec.name)
    rows, label = generators_table.renamed(found.rows, name)
    folders = {label: first} | {name: model.folder for name, model in found.names_beside.items()}
    names = list(folders)
    tables = (generators_table.quality(rows, names), generators_table.weight(list(folders.items())))
    text = "\n".join(["# Generators\n", f"{_facts(found)}\n", *(table.markdown() for table in tables)])
    folder.mkdir(parents=True, exist_ok=True)
    atomic_write(folder / "generators.md", text.encode())
    atomic_write(folder / "generators.svg", generators_table.picture(rows, names).encode())


def markdown(found: Evaluation) -> str:
    """The tables as Markdown: a row per metric and a column per subject."""
    parts = [f"# Evaluation\n\n{_facts(found)}\n", _by_subject(found.rows).markdown()]
    parts.append(_targets(found.verdicts).markdown())
    notes = [f"* {name}: {note}" for name, note in _notes(found.rows).items()]
    parts += ["Notes on the scores of the generated dances:\n", *notes]
    missing = [f"* {name}: {reason}" for name, reason in not_measured(found).items()]
    if missing:
        parts += ["\nNot measured of the generated dances:\n", *missing]
    return "\n".join(parts) + "\n"


def not_measured(found: Evaluation) -> dict[str, str]:
    """Why the generated dances have no value of a metric, by its name."""
    names = {row["metric"] for row in found.rows if row["subject"] == "generated"}
    embedded = any(m.name in names for m in METRICS if m.needs == "motion and text embeddings")
    dances = sum(len(dance.performance.dancers) for dance in found.dances)
    out = {}
    for metric in METRICS:
        if metric.name in names:
            continue
        if metric.needs == "beats":
            out[metric.name] = "no stretch has music whose beats are known"
        elif metric.needs != "positions" and not embedded:
            out[metric.name] = "there is no text-motion encoder"
        else:
            needed = f"{metric.fewest} dances and {metric.fewest} different windows of training motion"
            out[metric.name] = f"{NOT_ENOUGH}: it needs {needed} at least, and there are {dances} dances"
    return out


def _facts(found: Evaluation) -> str:
    request, options = found.request, found.request.options
    generator = request.url or (str(request.checkpoint) if request.checkpoint else "the shipped checkpoint")
    chosen = preset(options.preset)
    steps, sampler = options.num_steps or chosen.num_steps, options.changes.get("sampler", chosen.sampler)
    extras = "" if options.use_rag else ", without retrieved phrases"
    extras += "" if options.finished else ", without post-processing"
    return (
        f"{generator}: {len(found.stretches)} held-out stretches, {request.replications} replication(s), "
        f"{sampler} with {steps} steps, guidance {options.guidance_scale:g}{extras}."
    )


def _scores(rows: Sequence[Row]) -> Table:
    """A row per metric and subject."""
    lines = []
    for row in rows:
        interval = "" if row["ci95"] is None else f"{row['ci95']:.3g}"
        lines.append([row["metric"], row["subject"], f"{row['value']:.3g}", interval, str(row["n"]), row["note"]])
    return Table(("metric", "subject", "value", "± 95 %", "n", "note"), lines)


def _by_subject(rows: Sequence[Row]) -> Table:
    """A row per metric and a column per subject."""
    subjects = list(dict.fromkeys(row["subject"] for row in rows))
    cells = {(row["metric"], row["subject"]): row for row in rows}
    lines = []
    for metric in METRICS:
        found = [cells.get((metric.name, subject)) for subject in subjects]
        if any(found):
            lines.append([f"{metric.name} ({metric.better})", *("" if row is None else _score(row) for row in found)])
    return Table(["metric", *subjects], lines)


def _score(row: Row) -> str:
    return f"{row['value']:.3g}" + ("" if row["ci95"] is None else f" ± {row['ci95']:.2g}")


def _targets(verdicts: Sequence[Verdict]) -> Table:
    return Table(TARGET_COLUMNS, [[v["check"], v["measured"], v["target"], MARKS[v["met"]]] for v in verdicts])


def _notes(rows: Sequence[Row]) -> dict[str, str]:
    return {row["metric"]: row["note"] for row in rows if row["subject"] == "generated" and row["note"]}


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
    body = (
        page.paragraph(_facts(found))
        + _targets(found.verdicts).html(MARKS.values())
        + f'<div class="clips">{clips}</div>{"".join(pictures.values())}'
        + _by_subject(found.rows).html()
        + "".join(page.paragraph(f"{name} is not measured: {reason}.") for name, reason in not_measured(found).items())
    )
    return page.page("Evaluation", "Evaluation", body, _STYLE)
