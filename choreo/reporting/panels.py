"""Plots as SVG documents: panels of one look, drawn with matplotlib."""

import io
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS: Final = ("#2f6f9f", "#d1603d", "#4f9d69", "#c9a227", "#7b5ea7", "#9aa0a6")
"""Of the series of a plot, in order; the last is grey."""
FAILURE: Final = "#b42318"
NOT_ENOUGH: Final = "not enough samples"
"""What stands in a report for a figure that needs more of them."""


def panels(rows: int = 1, columns: int = 1, size: tuple[float, float] = (6.4, 3.6)) -> "tuple[Figure, list[Axes]]":
    """A figure and its axes, row by row.

    Args:
        size: width and height of one panel, inches.
    """
    # Not pyplot: it keeps figures and picks a window system.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(size[0] * columns, size[1] * rows))
    axes = [figure.add_subplot(rows, columns, i + 1) for i in range(rows * columns)]
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=8)
    figure.set_layout_engine("tight")
    return figure, axes


def without_figures(figure: "Figure") -> "Figure":
    """The figure with axes that say why nothing is drawn in them."""
    for axis in figure.axes:
        axis.set_visible(True)
        axis.set(xticks=(), yticks=())
        axis.text(0.5, 0.5, NOT_ENOUGH, transform=axis.transAxes, ha="center", va="center", fontsize=9)
    return figure


def svg(figure: "Figure") -> str:
    """The figure as an SVG element; axes with labelled series get a legend."""
    for axis in figure.axes:
        if axis.get_legend_handles_labels()[1]:
            axis.legend(frameon=False, fontsize=8)
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]
