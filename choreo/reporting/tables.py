"""A table of text, written as Markdown, as HTML or for a terminal."""

import html
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from rich.markup import escape
from rich.table import Table as TerminalTable


@dataclass(frozen=True)
class Table:
    """Column heads and rows of cells."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """The table in Markdown, with a newline at its end."""
        lines = [self.head, ["---"] * len(self.head), *self.rows]
        return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"

    def html(self, classes: Collection[str] = ()) -> str:
        """The table as an HTML element.

        Args:
            classes: texts of cells that become the CSS class of their cell as well, e.g. `missed`.
        """

        def line(cells: Sequence[str], tag: str) -> str:
            opening = (f'<{tag} class="{cell}">' if cell in classes else f"<{tag}>" for cell in cells)
            return "".join(f"{start}{html.escape(cell)}</{tag}>" for start, cell in zip(opening, cells, strict=True))

        lines = [line(self.head, "th"), *(line(row, "td") for row in self.rows)]
        return "<table>" + "".join(f"<tr>{cells}</tr>" for cells in lines) + "</table>"

    def terminal(self) -> TerminalTable:
        """The table for a Rich console."""
        table = TerminalTable(*map(escape, self.head))
        for row in self.rows:
            table.add_row(*map(escape, row))
        return table
