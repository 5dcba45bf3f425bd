"""Plots of a data set's description: lengths, motions, speeds, balance and trimming."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from choreo.reporting.panels import COLOURS, panels, svg, without_figures

MAX_BARS: Final = 20
SECONDS: Final = (1, 3, 10, 30, 100, 300)
"""Marks of the axis of lengths."""
DANCE, OTHER, ALL = COLOURS[1], COLOURS[0], COLOURS[-1]

Document = Mapping[str, Any]


def pictures(description: Document) -> dict[str, str]:
    """SVG documents by name."""
    return {
        "lengths": lengths(description["lengths"]),
        "motions": motions(description["captions"]["motions"]),
        "speeds": speeds(description["speeds"]),
        "families": families(description["families"]["rows"]),
        "trimming": trimming(description["trimming"]),
    }


def lengths(found: Document) -> str:
    """Histogram of the lengths of clips."""
    figure, (axis,) = panels()
    axis.stairs(found["histogram"]["counts"], found["histogram"]["edges"], fill=True, color=OTHER)
    axis.set_xscale("log")
    axis.set_xticks(SECONDS, [str(tick) for tick in SECONDS])
    axis.xaxis.minorticks_off()
    axis.set_xlim(found["histogram"]["edges"][0], found["histogram"]["edges"][-1])
    axis.set(xlabel="length of a clip, s", ylabel="clips")
    return svg(figure)


def motions(rows: Sequence[Document]) -> str:
    """Clips that name each of the commonest motions; dances in another colour."""
    shown = rows[:MAX_BARS]
    figure, (axis,) = panels(size=(6.4, 4.6))
    for label, color, dance in (("dances", DANCE, True), ("other motions", OTHER, False)):
        at = [i for i, row in enumerate(shown) if row["dance"] is dance]
        axis.barh(at, [shown[i]["clips"] for i in at], color=color, label=label)
    axis.set_yticks(range(len(shown)), [row["motion"] for row in shown])
    axis.invert_yaxis()
    axis.set_xlabel("clips whose captions name it")
    return svg(figure if shown else without_figures(figure))


def speeds(rows: Sequence[Document]) -> str:
    """Median and 99 % quantile of every joint's speed."""
    figure, (axis,) = panels(size=(6.4, 4.6))
    names = [row["joint"] for row in reversed(rows)]
    axis.barh(names, [row["p99"] for row in reversed(rows)], color=ALL, label="99 % of the frames")
    axis.barh(names, [row["median"] for row in reversed(rows)], color=OTHER, label="half of the frames")
    axis.set_xlabel("speed below which they are, m/s")
    return svg(figure)


def families(rows: Sequence[Document]) -> str:
    """Minutes of the largest families, and what of them has music and is cleared."""
    shown = list(reversed(rows[:MAX_BARS]))
    figure, axes = panels(1, 2, (4.6, 4.6))
    names = [_plain(row["family"]) for row in shown]
    minutes = [row["minutes"] for row in shown]
    for axis, column, title in zip(axes, ("music", "cleared"), ("with music", "cleared for shipping"), strict=True):
        axis.barh(names, minutes, color=ALL, label="all")
        parts = [row["minutes"] * row[column] for row in shown]
        axis.barh(names, parts, color=OTHER, label=title)
        axis.set_xlabel("minutes")
    return svg(figure)


def trimming(found: Document) -> str:
    """Share of dance and of other motion that each rule removes, and that limits of speed would."""
    figure, (rules, limits) = panels(1, 2, (4.6, 3.6))
    names = ("length", "speed", "uncommon", "together")
    of = {row["name"]: row for row in found["kinds"]}
    for i, (kind, color) in enumerate((("dance", DANCE), ("other", OTHER))):
        if not of[kind]["minutes"]:
            continue
        rules.bar([x + 0.4 * i for x in range(len(names))], [of[kind][n] for n in names], 0.4, color=color, label=kind)
        rows = found["limits"]
        limits.plot([r["max_speed"] for r in rows], [r[kind] for r in rows], "o-", color=color, label=kind)
    rules.set_xticks([x + 0.2 for x in range(len(names))], names)
    rules.set(ylim=(0, 1), ylabel="share of the frames that is removed")
    limits.set(ylim=(0, 1), xlabel="no joint may be faster than, m/s")
    return svg(figure)


def _plain(name: str) -> str:
    """Text that matplotlib does not take for mathematics, short enough for an axis."""
    return (name if len(name) <= 24 else f"{name[:23]}…").replace("$", r"\$")
