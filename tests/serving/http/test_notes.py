"""Notes on a request reach its sender in every format."""

from dataclasses import replace
from typing import Any

import pytest

from choreo.motion.formats.formats import FORMATS, Format
from serving.http.notes import notes_header

TEXT = {"text_prompt": "a slow waltz"}
NOTES = ("the song is cut off", "no beats were found")


@pytest.mark.parametrize("fmt", [fmt for fmt in FORMATS if not fmt.needs_blender])
def test_notes_are_a_header_and_part_of_the_metadata(
    ingress: Any, stages: Any, monkeypatch: pytest.MonkeyPatch, fmt: Format
) -> None:
    assert "x-notes" not in ingress.generate(TEXT | {"format": fmt.name}).headers
    encode = stages.encode

    async def noting(*args: Any) -> Any:
        return replace(await encode(*args), notes=NOTES)

    monkeypatch.setattr(stages, "encode", noting)
    answer = ingress.generate(TEXT | {"format": fmt.name})
    assert answer.headers["x-notes"] == "; ".join(NOTES)
    if fmt is Format.JSON:
        assert answer.json()["meta"]["notes"] == list(NOTES)
    found = ingress.ask("POST", "/v1/phrases/search", json=TEXT)
    assert found.headers["x-notes"] == "; ".join(NOTES)
    old = ingress.ask("POST", "/generate", json=TEXT)
    assert old.headers["x-notes"] == "; ".join(NOTES)


def test_nothing_but_plain_text_gets_into_the_header() -> None:
    assert notes_header(["ümlaut\r\nX-Evil: 1"]) == {"X-Notes": "?mlaut??X-Evil: 1"}
    assert notes_header([]) == {}
