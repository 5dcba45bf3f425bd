"""Titles in any script: every character has a picture, in some font, or is left out with a note."""

import logging

import numpy as np
import pytest
from fontTools.ttLib import TTFont
from PIL import Image, ImageDraw

from choreo.motion.formats.lettering import Lettering, Run

SIZE, WIDTH, WHITE = 18, 600, (255, 255, 255)
TITLES = (
    "Café – naïve “Œuvre” …", "漢字 ダンス 한국어 简体", "Кириллица Ελληνικά", "हिन्दी नृत्य", "العربية رقص, hello",
    "dance 💃🏽 👨\u200d👩\u200d👧 ❤️ 🎵", "עברית ไทย தமிழ் ქართული", "½ € → ★ ♫", "Tiếng Việt", "አማርኛ বাংলা 𝓓𝓪𝓷𝓬𝓮",
)  # fmt: skip
IGNORED = "\u200c\u200d\ufe0f"


def line(text: str, width: float = WIDTH) -> tuple[Run, ...]:
    return Lettering(SIZE).line(text, width)


def written(text: str, width: float = WIDTH) -> str:
    return "".join(run.text for run in line(text, width))


def drawn(text: str) -> np.ndarray:
    image = Image.new("RGB", (WIDTH, 3 * SIZE))
    Lettering(SIZE).draw(ImageDraw.Draw(image), (5, 5), line(text), WHITE)
    return np.asarray(image)


@pytest.mark.parametrize("title", TITLES)
def test_every_character_has_a_picture(title: str, caplog: pytest.LogCaptureFixture) -> None:
    runs = line(title)
    for run in runs:
        with TTFont(run.font.path, fontNumber=0, lazy=True) as font:
            assert {ord(c) for c in run.text if c not in IGNORED} <= font.getBestCmap().keys(), run.text
    assert drawn(title).any()
    assert not caplog.records


def test_characters_are_kept_as_they_are() -> None:
    for title in TITLES[:-1]:
        assert written(title) == title
    assert written("𝓓𝓪𝓷𝓬𝓮 Å") == "Dance Å"


@pytest.mark.parametrize("lost", ["\ue000", "\U0010fffd", "\u0378", "\ud800", "\U00012000"])
def test_what_no_font_has_is_left_out_with_a_note(lost: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert written(f"a{lost}b") == "ab"
    assert f"no font has U+{ord(lost):04X}" in caplog.text
    np.testing.assert_array_equal(drawn(f"a{lost}b"), drawn("ab"))
    assert line(lost) == ()


def test_controls_become_spaces_and_directions_are_not_turned() -> None:
    assert written(" a\nb\0\0c\x1b[31m\t") == "a b c [31m"
    assert written("ab\u202ecd\u2066") == "abcd"
    assert written("") == written(" \n") == written("\u0301") == ""


def test_a_tower_of_marks_is_cut() -> None:
    assert len(written("Z" + "\u0335" * 500 + "a")) < 10


@pytest.mark.parametrize("text", ["x" * 100_000, "漢" * 500, "💃" * 300, "ع" * 300, "e\u0301" * 500])
def test_what_does_not_fit_is_cut(text: str) -> None:
    for width in (600, 100, 5):
        runs = line(text, width)
        assert sum(run.width for run in runs) <= width
        assert not runs or runs[-1].text.endswith("…") or "…" in runs[-1].text


def test_words_from_right_to_left_stay_together() -> None:
    assert [run.text for run in line("رقص حديث")] == ["رقص حديث"]
    assert len(line("a 漢 b")) == 3
