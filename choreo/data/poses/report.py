"""The account of an import as one HTML page: a time line of what was seen and done, frames of the result, a table."""

import base64
import html
import io
from typing import Any, Final

from choreo.data.poses.importing import Imported
from choreo.motion.formats.contact_sheet import contact_sheet, frames_around
from choreo.reporting.page import page, paragraph
from choreo.reporting.panels import COLOURS
from choreo.reporting.tables import Table

MAX_ROWS: Final = 3600
"""Seconds in the table and the time line."""
MAX_SHEETS: Final = 4
"""Takes of which frames are shown."""
_WIDTH, _ROW = 1100, 34
_LANES: Final = (
    ("all seen", "with_all", COLOURS[2]),
    ("one seen", "with_one", COLOURS[3]),
    ("none seen", "with_none", COLOURS[1]),
    ("filled", "filled", COLOURS[0]),
    ("number changed", "number_changes", COLOURS[4]),
    ("spikes", "spikes", COLOURS[1]),
    ("smoothed", "smoothed_mm", COLOURS[5]),
    ("kept", "kept", COLOURS[2]),
)
"""Label, figure and colour of each lane of the time line."""


def report_page(imported: Imported, name: str) -> str:
    """The page, with its pictures inside.

    Args:
        imported: takes and their account.
        name: of the take.
    """
    d = imported.document
    rows = imported.seconds[:MAX_ROWS]
    body = [
        paragraph(summary(d)),
        *(paragraph(note, "open") for note in d["notes"]),
        "<h2>What was seen and done, by second</h2>",
        timeline(rows),
        *(_sheet(imported, suffix, name) for suffix in list(imported.takes)[:MAX_SHEETS]),
        "<h2>By second</h2>",
        _table(rows).html(),
    ]
    return page(f"Poses of {name}", f"Poses of {name}", "".join(body))


def summary(document: dict[str, Any]) -> str:
    """The import in a few sentences."""
    d = document
    filled = " and ".join(map(str, d["filled"]))
    return (
        f"{d['persons']} persons in {d['video_seconds']:g} s of video, at most {d['most_in_one_frame']} in an image; "
        f"{d['kept_seconds']:g} s kept, takes: {d['takes']}. All dancers were seen in {d['with_all']} images, one of "
        f"two in {d['with_one']}, none in {d['with_none']}. Filled: {filled} frames of the dancers. "
        f"A dancer had another of the tracker's numbers {d['number_changes']} times. {d['spikes']} joints were spikes, "
        f"and smoothing moved joints by {d['smoothed_mm']:g} mm on average. {d['found_twice']} persons were found "
        f"twice and {d['bystanders']} are not of the dancers. One unit of the file is {d['metres_per_unit']:g} m; a "
        f"lean of the camera by {d['camera_lean_degrees']:g} degrees was removed."
    )


def timeline(rows: list[dict[str, Any]]) -> str:
    """An SVG with a lane for each figure; the height of a bar is its share of the largest in the lane."""
    width = _WIDTH / max(len(rows), 1)
    height = _ROW * len(_LANES) + 20
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH + 130} {height}" font-size="12">']
    for lane, (label, figure, colour) in enumerate(_LANES):
        values = [float(sum(v) if isinstance(v := row[figure], list) else v) for row in rows]
        top, base = max(values, default=0.0), (lane + 1) * _ROW
        parts.append(f'<text x="0" y="{base - 8}">{html.escape(label)}</text>')
        parts.append(f'<line x1="120" x2="{_WIDTH + 120}" y1="{base}" y2="{base}" stroke="#ddd"/>')
        for at, value in enumerate(values):
            if value:
                tall = (_ROW - 8) * value / top
                parts.append(
                    f'<rect x="{120 + at * width:.1f}" y="{base - tall:.1f}" width="{max(width - 0.5, 0.5):.1f}" '
                    f'height="{tall:.1f}" fill="{colour}"><title>{rows[at]["second"]} s: {value:g}</title></rect>'
                )
    step = max(len(rows) // 10, 1)
    for second in range(0, len(rows), step):
        parts.append(f'<text x="{120 + second * width:.1f}" y="{height - 4}" fill="#777">{second} s</text>')
    return "".join([*parts, "</svg>"])


def _sheet(imported: Imported, suffix: str, name: str) -> str:
    take = imported.takes[suffix]
    picture = contact_sheet(take, frames_around([], take.num_frames, take.fps)[1:2], f"{name}{suffix}")
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    source = base64.b64encode(buffer.getvalue()).decode()
    return f'<figure><img style="max-width:100%" alt="frames" src="data:image/png;base64,{source}"></figure>'


def _table(rows: list[dict[str, Any]]) -> Table:
    names = list(rows[0]) if rows else []
    cells = [[" ".join(map(str, row[n])) if isinstance(row[n], list) else str(row[n]) for n in names] for row in rows]
    return Table([name.replace("_", " ") for name in names], cells)
