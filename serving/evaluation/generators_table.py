"""Generators compared: one row each, chosen metrics with their intervals, and what each weighs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from choreo.evaluation.scorecard import METRICS, Row
from choreo.generators.checkpoint import load_generator
from choreo.reporting.panels import COLOURS, panels, svg, without_figures
from choreo.reporting.tables import Table
from serving.evaluation.subjects import GENERATED

SHOWN: Final = (
    "fd_embedding", "tmr_score_stmc", "r_precision_top1", "r_precision_top2", "r_precision_top3",
    "precision_embedding", "recall_embedding", "density_embedding", "coverage_embedding", "fid_k",
    "beat_alignment_score", "foot_skating_ratio",
)  # fmt: skip
REAL: Final = "gt"


def quality(rows: Sequence[Row], names: Sequence[str]) -> Table:
    """A row per subject and a column per metric that any of them has, real motion first.

    Args:
        rows: of an evaluation.
        names: subjects other than real motion, in order.
    """
    cells = {(row["subject"], row["metric"]): row for row in rows}
    subjects = [REAL, *names]
    shown = [metric for metric in SHOWN if any((subject, metric) in cells for subject in subjects)]
    better = {metric.name: metric.better for metric in METRICS}
    lines = [[subject, *(_cell(cells.get((subject, metric))) for metric in shown)] for subject in subjects]
    return Table(["generator", *(f"{metric} ({better[metric]})" for metric in shown)], lines)


def weight(folders: Sequence[tuple[str, Path]]) -> Table:
    """Millions of parameters of each generator, and the megabytes of its checkpoint's weights.

    Raises:
        InvalidArtifact: a checkpoint cannot be read.
    """
    lines = []
    for name, folder in folders:
        count = sum(parameter.numel() for parameter in load_generator(folder).parameters())
        size = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
        lines.append([name, f"{count / 1e6:.2f}", f"{size / 1e6:.1f}"])
    return Table(("generator", "parameters (million)", "weights (MB)"), lines)


def picture(rows: Sequence[Row], names: Sequence[str]) -> str:
    """A dot with its 95 % interval per generator, one panel per metric; an SVG document."""
    cells = {(row["subject"], row["metric"]): row for row in rows}
    subjects = [REAL, *names]
    shown = [metric for metric in SHOWN if any((subject, metric) in cells for subject in subjects)]
    columns = min(4, max(1, len(shown)))
    figure, axes = panels(-(-len(shown) // columns), columns, (3.2, 2.2))
    for axis, metric in zip(axes, shown, strict=False):
        found = [cells[subject, metric] for subject in subjects if (subject, metric) in cells]
        for place, row in enumerate(found):
            colour = COLOURS[0] if row["subject"] == REAL else COLOURS[1]
            axis.errorbar(row["value"], place, xerr=row["ci95"] or 0, fmt="o", color=colour, capsize=3)
        axis.set_yticks(range(len(found)), [row["subject"] for row in found])
        axis.set_title(metric, fontsize=9)
        axis.invert_yaxis()
    for axis in axes[len(shown) :]:
        axis.set_visible(False)
    return svg(figure if shown else without_figures(figure))


def renamed(rows: Sequence[Row], name: str) -> tuple[list[Row], str]:
    """The rows with the generator's name instead of `generated`, and that name, made different from all others."""
    label = f"{name} (first)" if any(row["subject"] == name for row in rows) else name
    return [{**row, "subject": label} if row["subject"] == GENERATED else row for row in rows], label


def _cell(row: Row | None) -> str:
    if row is None:
        return ""
    return f"{row['value']:.3g}" + ("" if row["ci95"] is None else f" ± {row['ci95']:.2g}")
