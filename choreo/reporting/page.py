"""An HTML page in one file: no scripts, and nothing to load."""

import html
from collections.abc import Mapping
from typing import Final

_STYLE: Final = """
body{font:15px/1.5 system-ui,sans-serif;max-width:1200px;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse;font-size:13px;margin:1rem 0;display:block;overflow-x:auto}
td,th{padding:.25rem .6rem;border-bottom:1px solid #ddd;text-align:right;white-space:nowrap}
td:first-child,th:first-child{text-align:left}figure{margin:0}svg{max-width:100%;height:auto}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(440px,1fr));gap:1rem}
.met{color:#1a7f37}.missed{color:#b42318}.open{color:#777}
"""


def page(title: str, heading: str, body: str, style: str = "") -> str:
    """A whole page.

    Args:
        title, heading: plain text.
        body: HTML below the heading.
        style: CSS in addition to that of all pages (tables, `.plots`, `.met`, `.missed`, `.open`).
    """
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{_STYLE}{style}</style><h1>{html.escape(heading)}</h1>{body}</html>\n"
    )


def paragraph(text: str, css_class: str = "") -> str:
    """A paragraph of plain text."""
    opening = f'<p class="{css_class}">' if css_class else "<p>"
    return f"{opening}{html.escape(text)}</p>"


def plots(pictures: Mapping[str, str]) -> str:
    """SVG documents by title, as many next to each other as fit."""
    figures = (f"<figure><h2>{html.escape(title)}</h2>{svg}</figure>" for title, svg in pictures.items())
    return f'<div class="plots">{"".join(figures)}</div>'
