"""Text in any script on an image: each character in the first font that has it, and none as an empty box.

The fonts are Noto's, from the packages manimgx-fonts (Noto Sans for some twenty scripts, symbols and emoji) and
manimgx-fonts-cjk. What none of them has is written in compatible characters (`unicodedata`, form NFKD), and otherwise
left out.
"""

import logging
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Final

from fontTools.ttLib import TTFont
from PIL import ImageDraw, ImageFont

log = logging.getLogger(__name__)

FIRST: Final = ("NotoSans[wght].ttf", "NotoSansCJK-VF.otf.ttc")
"""Fonts that are asked before all others, in this order."""
WEIGHT: Final = 400
"""Regular."""
JOINERS: Final = "\u200c\u200d"
"""Zero width non-joiner and joiner, which shape scripts and emoji and have no picture of their own."""
MAX_MARKS: Final = 4
"""Marks and joined characters in one cluster; more of them would be a tower."""
MAX_CLUSTERS: Final = 80
"""Characters of a line; what follows is not looked at."""


@dataclass(frozen=True)
class Run:
    """Text in one font."""

    font: ImageFont.FreeTypeFont
    text: str

    @property
    def width(self) -> float:
        """In pixels."""
        return float(self.font.getlength(self.text))


class Lettering:
    """Sets lines of text in one size, pixels."""

    def __init__(self, size: int) -> None:
        self._size = size

    def line(self, text: str, width: float) -> tuple[Run, ...]:
        """One line of at most `width` pixels, in runs from left to right; what does not fit is cut, with an ellipsis.

        Control characters become spaces. What no font has is left out, and that is logged.
        """
        clusters, lost = _legible(text)
        if lost:
            log.warning("no font has %s; left out of the title", ", ".join(f"U+{ord(c):04X}" for c in lost[:5]))
        whole = list(clusters)
        runs = self._runs(whole)
        while whole and sum(run.width for run in runs) > width:
            whole = whole[:-1]
            runs = self._runs([*whole, "…"]) if whole else ()
        return runs

    def draw(
        self, draw: ImageDraw.ImageDraw, place: tuple[float, float], runs: tuple[Run, ...], fill: tuple[int, int, int]
    ) -> None:
        """Draw a line whose upper left corner is at `place`."""
        x, y = place
        ascent = _font(_fonts()[0], self._size).getmetrics()[0]
        for run in runs:
            draw.text((x, y + ascent), run.text, fill, run.font, anchor="ls")
            x += run.width

    def _runs(self, clusters: list[str]) -> tuple[Run, ...]:
        runs: list[tuple[Path, str]] = []
        for cluster in clusters:
            # Spaces and signs between words that are written from right to left stay in their font, which orders them.
            stays = bool(runs) and _rightward(runs[-1][1]) and not cluster.isalnum() and _has(runs[-1][0], cluster)
            path = runs[-1][0] if stays else _font_of(cluster)
            assert path is not None  # `_legible` has seen to it
            if runs and runs[-1][0] == path:
                runs[-1] = path, runs[-1][1] + cluster
            else:
                runs.append((path, cluster))
        return tuple(Run(_font(path, self._size), text) for path, text in runs)


def _legible(text: str) -> tuple[list[str], list[str]]:
    """Clusters that some font has, and the characters that none has, not even in a compatible form."""
    clusters, lost = [], []
    for cluster in _clusters(text):
        if _font_of(cluster) is not None:
            clusters.append(cluster)
            continue
        # Without what cannot be joined, or with characters that mean the same.
        plain = "".join(c for c in unicodedata.normalize("NFKD", cluster) if _font_of(c) is not None)
        clusters += [unicodedata.normalize("NFC", plain)] if plain.strip(JOINERS) else []
        lost += [] if plain.strip(JOINERS) else [cluster[0]]
    return clusters, lost


def _clusters(text: str) -> Iterator[str]:
    """Base characters with the marks and joined characters that follow; white space and controls are one space."""
    held, count = "", 0
    for char in unicodedata.normalize("NFC", text[: 8 * MAX_CLUSTERS]):
        if count >= MAX_CLUSTERS:
            break
        joined = (
            char in JOINERS or unicodedata.category(char) in ("Mn", "Mc", "Me") or "\U0001f3fb" <= char <= "\U0001f3ff"
        )
        if held.strip() and (joined or held.endswith("\u200d")):
            held += char if len(held) <= MAX_MARKS else ""
            continue
        space = char.isspace() or unicodedata.category(char) == "Cc"
        if joined or unicodedata.category(char) == "Cf" or (space and (held == " " or not held)):
            continue
        if held:
            yield held
            count += 1
        held = " " if space else char
    if held.strip() and count < MAX_CLUSTERS:
        yield held


def _rightward(text: str) -> bool:
    """Whether the last letter of a text belongs to a script that is written from right to left."""
    letters = (kind for c in reversed(text) if (kind := unicodedata.bidirectional(c)) in ("L", "R", "AL"))
    return next(letters, "L") != "L"


def _font_of(cluster: str) -> Path | None:
    """The first font that has all characters of a cluster."""
    return next((path for path in _fonts() if _has(path, cluster)), None)


def _has(path: Path, cluster: str) -> bool:
    return all(ord(c) in _characters(path) for c in cluster if c not in JOINERS and not "\ufe00" <= c <= "\ufe0f")


@cache
def _fonts() -> tuple[Path, ...]:
    """Font files, in the order in which they are asked."""
    found = [Path(str(file)) for package in ("manimgx_fonts", "manimgx_fonts_cjk") for file in files(package).iterdir()]
    upright = [path for path in found if path.suffix in (".ttf", ".ttc", ".otf") and "Italic" not in path.name]
    order = {name: place for place, name in enumerate(FIRST)}
    return tuple(sorted(upright, key=lambda path: (order.get(path.name, len(order)), path.name)))


@cache
def _characters(path: Path) -> frozenset[int]:
    """Code points that a font has."""
    with TTFont(path, fontNumber=0, lazy=True) as font:
        return frozenset(font.getBestCmap())


@cache
def _font(path: Path, size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.truetype(path, size)
    font.set_variation_by_axes([WEIGHT])
    return font
