"""Tables, pages and panels of reports."""

import io

from rich.console import Console

from choreo.reporting.page import page, paragraph, plots
from choreo.reporting.panels import panels, svg
from choreo.reporting.tables import Table

TABLE = Table(("run", "a|b"), [("<x>", "missed"), ("[red]", "1")])


def test_markdown_escapes_its_separator() -> None:
    assert TABLE.markdown() == "| run | a\\|b |\n| --- | --- |\n| <x> | missed |\n| [red] | 1 |\n"


def test_html_escapes_text_and_marks_cells_by_their_text() -> None:
    assert TABLE.html({"missed"}) == (
        "<table><tr><th>run</th><th>a|b</th></tr>"
        '<tr><td>&lt;x&gt;</td><td class="missed">missed</td></tr><tr><td>[red]</td><td>1</td></tr></table>'
    )
    assert "class=" not in TABLE.html()


def test_a_terminal_shows_cells_as_they_are() -> None:
    out = io.StringIO()
    Console(file=out, width=60).print(TABLE.terminal())
    assert "[red]" in out.getvalue()


def test_a_page_loads_nothing_and_escapes_its_texts() -> None:
    text = page("a<b", "h&h", paragraph("x<y", "missed") + plots({"t>": "<svg/>"}), "p{top:0}")
    assert "<title>a&lt;b</title>" in text
    assert "<h1>h&amp;h</h1>" in text
    assert '<p class="missed">x&lt;y</p>' in text
    assert "<h2>t&gt;</h2><svg/>" in text
    assert "p{top:0}</style>" in text
    assert not any(word in text for word in ("src=", "href=", "http-equiv", "@import", "url("))


def test_panels_are_svg_elements_with_a_legend_where_series_have_labels() -> None:
    figure, axes = panels(2, 2, (2.0, 1.0))
    assert (len(axes), tuple(figure.get_size_inches())) == (4, (4.0, 2.0))
    axes[1].plot([0, 1], [0, 1], label="served")
    text = svg(figure)
    assert text.startswith("<svg")
    assert [axis.get_legend() is not None for axis in axes] == [False, True, False, False]
