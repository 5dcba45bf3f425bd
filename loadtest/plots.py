"""Plots of load tests, as SVG."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

import numpy as np

from choreo.reporting.panels import COLOURS, FAILURE, panels, svg
from loadtest.runs import Run
from loadtest.samples import Outcome

MAX_ERRORS: Final = 12
_TICKS: Final = (0.0, 50.0, 90.0, 99.0, 99.9, 99.99)


def latency_over_time(runs: Sequence[Run]) -> str:
    """Latency of served requests by their intended start; failures are crosses on the time axis."""
    figure, (axis,) = panels()
    for run, colour in _coloured(runs):
        served = [s for s in run.samples if s.outcome is Outcome.SERVED]
        times, latencies = [s.intended for s in served], [s.latency for s in served]
        axis.scatter(times, latencies, s=9, alpha=0.6, color=colour, label=run.figures.label, linewidths=0)
    wrong = [s.intended for run in runs for s in run.samples if s.error is not None]
    if wrong:
        nought = [0] * len(wrong)
        axis.scatter(wrong, nought, s=18, marker="x", color=FAILURE, linewidths=0.8, clip_on=False, label="failures")
    start = max((run.window.start for run in runs), default=0)
    if start:
        axis.axvspan(0, start, color="#eeeeee", zorder=0, label="warm-up")
    axis.set(xlabel="intended start, s", ylabel="latency, s", ylim=(0, None), xlim=(0, None))
    return svg(figure)


def percentile_curve(runs: Sequence[Run]) -> str:
    """Latency by percentile, on an axis that is logarithmic in the share of slower requests."""
    figure, (axis,) = panels()
    largest = max((run.figures.latency.count for run in runs), default=0)
    for run, colour in _coloured(runs):
        counted = [s for s in run.samples if s.outcome is Outcome.SERVED and run.window.holds(s.intended)]
        ordered = np.sort([s.latency for s in counted])
        below = np.arange(len(ordered)) / max(len(ordered), 1)
        axis.step(-np.log10(1 - below), ordered, where="post", color=colour, label=run.figures.label)
    ticks = [t for t in _TICKS if t == 0 or (1 - t / 100) * largest >= 0.9]
    axis.set_xticks([-np.log10(1 - t / 100) for t in ticks], [f"{t:g} %" for t in ticks])
    axis.set(xlabel="share of faster requests", ylabel="latency, s", ylim=(0, None), xlim=(0, None))
    return svg(figure)


def throughput(runs: Sequence[Run]) -> str:
    """Served and good requests per second against offered ones."""
    figure, (axis,) = panels()
    found = sorted((run.figures for run in runs), key=lambda f: f.offered_per_s)
    offered = [f.offered_per_s for f in found]
    end = 1.05 * max(offered, default=1.0) or 1.0
    axis.plot([0, end], [0, end], color="#bbbbbb", linewidth=1, label="offered")
    axis.plot(offered, [f.served_per_s for f in found], "o-", color=COLOURS[0], label="served")
    if all(f.good_per_s is not None for f in found):
        axis.plot(offered, [f.good_per_s or 0 for f in found], "s--", color=COLOURS[2], label="within the objective")
    axis.set(xlabel="offered, requests/s", ylabel="requests/s", xlim=(0, end), ylim=(0, None))
    return svg(figure)


def errors_by_kind(runs: Sequence[Run]) -> str:
    """Number of failed requests by kind and error, over all runs."""
    figure, (axis,) = panels()
    counts: Counter[str] = Counter()
    for run in runs:
        counts.update(run.figures.errors)
    most = counts.most_common(MAX_ERRORS)
    axis.barh([name for name, _ in most], [count for _, count in most], color=FAILURE)
    axis.invert_yaxis()
    axis.set_xlabel("requests")
    if not most:
        axis.set_axis_off()
        axis.text(0.5, 0.5, "no failures", ha="center", va="center", transform=axis.transAxes)
    return svg(figure)


def _coloured(runs: Sequence[Run]) -> list[tuple[Run, str]]:
    return [(run, COLOURS[i % len(COLOURS)]) for i, run in enumerate(runs)]
