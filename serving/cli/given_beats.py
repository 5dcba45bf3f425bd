"""Beats of a song on the command line: their seconds, or a file of them."""

import json
import re
from pathlib import Path
from typing import Any, Final

from choreo.errors import InvalidInput

BEATS_HELP: Final = "Beats of the song: seconds between commas, or a file that `choreo beats --json` printed."
DOWNBEATS_HELP: Final = "First beats of its bars: seconds between commas, or such a file."
MAX_BYTES: Final = 1 << 20
"""Of a file of beats."""
_SECONDS: Final = re.compile(r"[-+0-9.,eE\s]+|.*,.*")


def given_beats(text: str, field: str = "beats") -> list[float]:
    """Beats in seconds, in the order that they are given in; what they may be is the request's business.

    Args:
        text: numbers between commas, or the path of a JSON object with such a list, or of such a list.
        field: `beats` or `downbeats`, which the list in the object is called as well.

    Raises:
        InvalidInput: it is neither.
    """
    path = Path(text)
    if not _exists(path) and _SECONDS.fullmatch(text):
        return [_seconds(f"{field}.{i}", item) for i, item in enumerate(text.split(","))]
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise InvalidInput(field, f"must be seconds between commas, or a file of them, got {text[:64]!r}") from error
    if len(data) > MAX_BYTES:
        raise InvalidInput(field, f"{path.name} is larger than {MAX_BYTES >> 20} MiB")
    return [_number(f"{field}.{i}", item) for i, item in enumerate(_listed(data, path.name, field))]


def _listed(data: bytes, name: str, field: str) -> list[Any]:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(field, f"{name} is not JSON") from error
    beats = document.get(field) if isinstance(document, dict) else document
    if not isinstance(beats, list):
        raise InvalidInput(field, f"{name} has no list of {field}")
    return beats


def _seconds(field: str, text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise InvalidInput(field, f"must be a number of seconds, got {text[:32]!r}") from error


def _number(field: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidInput(field, f"must be a number of seconds, got {str(value)[:32]!r}")
    try:
        return float(value)
    except OverflowError as error:
        raise InvalidInput(field, "is too large") from error


def _exists(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that is too long, or has a zero in it
        return False
