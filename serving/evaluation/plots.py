"""Pictures of an evaluation: figures by subject, speed around the beats, and where dances lie among real ones."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.evaluation.figures import CONSTANT
from choreo.evaluation.kinetic_features import kinetic_features, with_hands
from choreo.evaluation.scorecard import Row
from choreo.motion.skeleton import FPS
from choreo.reporting.panels import COLOURS, panels, svg, without_figures
from serving.evaluation.stretches import Positions

SHOWN: Final = (
    "foot_skating_ratio", "jerk_m_s3", "kinetic_energy_m2_s2", "beat_alignment_score", "fid_k", "dist_k",
    "fd_embedding", "r_precision_top3",
)  # fmt: skip
PHASES: Final = 24
"""Bins of a beat."""
REAL, MADE, CONTROL = COLOURS[0], COLOURS[1], COLOURS[-1]
Beats = NDArray[np.float64]


def scores(rows: Sequence[Row]) -> str:
    """Bars with 95 % intervals of some metrics, one panel each; an SVG document."""
    shown = [[r for r in rows if r["metric"] == metric] for metric in SHOWN]
    shown = [scores for scores in shown if scores]
    columns = min(4, max(1, len(shown)))
    figure, axes = panels(-(-len(shown) // columns), columns, (3.2, 2.4))
    for axis, scored in zip(axes, shown, strict=False):
        names = [row["subject"] for row in scored]
        colors = [{"gt": REAL, "generated": MADE}.get(name, CONTROL) for name in names]
        axis.barh(names, [row["value"] for row in scored], xerr=[row["ci95"] or 0 for row in scored], color=colors)
        axis.set_title(scored[0]["metric"], fontsize=9)
        axis.invert_yaxis()
        if scored[0]["metric"].startswith(("fid", "jerk", "kinetic", "dist_k")) and any(r["value"] > 0 for r in scored):
            axis.set_xscale("log")
    for axis in axes[len(shown) :]:
        axis.set_visible(False)
    return svg(figure if shown else without_figures(figure))


def speed_around_beats(curves: Sequence[tuple[str, Sequence[Positions], Sequence[Beats | None]]]) -> str:
    """Joint speed over the time from one beat to the next, each motion's mean at 1; an SVG document.

    Args:
        curves: label, motions and their beats; motions without beats are left out.
    """
    figure, (axis,) = panels()
    for (label, motions, beats), color in zip(curves, (REAL, MADE, CONTROL), strict=False):
        curve = _phase_curve(motions, beats)
        if curve is not None:
            axis.plot(np.linspace(0, 1, PHASES + 1), [*curve, curve[0]], label=label, color=color)
    axis.set_xlabel("from beat to beat")
    axis.set_ylabel("joint speed, its mean is 1")
    return svg(figure if axis.lines else without_figures(figure))


def among_real(sets: Sequence[tuple[str, Sequence[Positions]]]) -> str:
    """The first two principal components of kinetic features, taken from the first set; an SVG document.

    Two components need three different motions in the first set; with fewer the picture says so.
    """
    features = [
        np.log1p(np.stack([kinetic_features(with_hands(p), FPS) for p in motions])) if len(motions) else None
        for _, motions in sets
    ]
    figure, (axis,) = panels()
    axis.set_xlabel("energy of movement, first component")
    axis.set_ylabel("second component")
    components = None if features[0] is None else _components(features[0])
    if components is None:
        return svg(without_figures(figure))
    mean, axes_of = components
    for (label, _), values, color in zip(sets, features, (REAL, MADE, CONTROL), strict=False):
        if values is not None:
            x, y = axes_of @ (values - mean).T
            axis.scatter(x, y, s=12, alpha=0.6, label=label, color=color)
    return svg(figure)


def _components(truth: Beats) -> tuple[Beats, Beats] | None:
    """Mean (F,) of features (N, F) and the two directions (2, F), each feature in its standard deviations, in which
    they vary most; None where they do not vary in two."""
    mean, std = truth.mean(0), truth.std(0)
    scale = np.divide(1.0, std, out=np.zeros_like(std), where=std > CONSTANT)
    _, sizes, axes_of = np.linalg.svd((truth - mean) * scale, full_matrices=False)
    if len(sizes) < 3 or sizes[1] <= CONSTANT:
        return None
    return mean, axes_of[:2] * scale


def _phase_curve(motions: Sequence[Positions], beats: Sequence[Beats | None]) -> Beats | None:
    phases, speeds = [], []
    for positions, times in zip(motions, beats, strict=True):
        if times is None or len(times) < 2:
            continue
        speed = np.linalg.norm(np.diff(positions, axis=0), axis=-1).mean(axis=1)
        at = np.arange(len(speed)) / FPS
        inside = (at >= times[0]) & (at < times[-1])
        phases.append(np.interp(at[inside], times, np.arange(len(times))) % 1)
        speeds.append(speed[inside] / max(float(speed.mean()), 1e-9))
    if not sum(map(len, phases)):
        return None
    bins = (np.concatenate(phases) * PHASES).astype(int)
    every = np.concatenate(speeds)
    return np.array([every[bins == k].mean() if (bins == k).any() else np.nan for k in range(PHASES)])
