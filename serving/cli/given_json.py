"""Structured fields of a request on the command line: a JSON file."""

from pathlib import Path
from typing import Any, Final

from choreo.errors import InvalidInput

CONSTRAINTS_HELP: Final = "Poses, spans, a path, a loop: a JSON file; see docs/directing.md."
SEGMENTS_HELP: Final = "Prompts over time: a JSON file; see docs/directing.md."


def given_json(field: str, path: Path | None) -> Any:
    """The value in a file; None without one. What it may be is the request's business.

    Raises:
        InvalidInput: it cannot be read, or is not JSON within the limits of such a field.
    """
    if path is None:
        return None
    from serving.pipeline.directing import MAX_TEXT, structured

    try:
        with path.open("rb") as file:
            text = file.read(MAX_TEXT + 1).decode()
    except UnicodeDecodeError as error:
        raise InvalidInput(field, f"{path.name[:64]} is not UTF-8") from error
    except (OSError, ValueError) as error:
        raise InvalidInput(field, f"{path.name[:64]} cannot be read") from error
    return structured(field, text)
