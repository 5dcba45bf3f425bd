"""Catalogs of one JSON object a line: {"custom_id": ..., "body": {the fields of POST /v1/generate}}."""

import json
from collections.abc import Iterator
from typing import Any, Final, NoReturn

from choreo.errors import InvalidInput
from serving.batch.catalog import MAX_LINE_BYTES, CatalogRow, at_line, base_of, sha256_of
from serving.batch.names import checked_id

MEMBERS: Final = ("custom_id", "body")
FIXED: Final = {"method": "POST", "url": "/v1/generate"}
"""Further members that files of this shape have elsewhere; they may say nothing else."""
_BOM: Final = b"\xef\xbb\xbf"


class JsonlCatalog:
    """A file of such lines; empty ones are skipped."""

    follows_links = False

    def __init__(self, system: Any, path: str) -> None:
        self._system, self._path = system, path
        self.base = base_of(system, path)

    def rows(self) -> Iterator[CatalogRow]:
        """All items; see `Catalog.rows`."""
        index = 0
        with self._system.open(self._path, "rb") as file:
            for line, text in numbered_lines(file):
                if text.strip():
                    yield _row(index, line, text)
                    index += 1

    def digest(self) -> str:
        """SHA-256 (hex) of the file."""
        return sha256_of(self._system, self._path)


def numbered_lines(file: Any) -> Iterator[tuple[int, str]]:
    """Lines of a binary file with their numbers from 1.

    Raises:
        InvalidInput: a line is too long, or is not UTF-8.
    """
    number = 0
    while data := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        if len(data) > MAX_LINE_BYTES:
            raise InvalidInput(at_line(number), f"is longer than {MAX_LINE_BYTES >> 20} MiB")
        if number == 1:
            data = data.removeprefix(_BOM)
        try:
            yield number, data.decode()
        except UnicodeDecodeError as error:
            raise InvalidInput(at_line(number), f"is not UTF-8 at byte {error.start + 1}") from error


def _row(index: int, line: int, text: str) -> CatalogRow:
    try:
        values = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_unique)
    except InvalidInput as error:
        raise InvalidInput(at_line(line, error.field), error.message) from error
    except (ValueError, RecursionError) as error:
        reason = f": {error.msg} at character {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        raise InvalidInput(at_line(line), f"is not valid JSON{reason}") from error
    if not isinstance(values, dict):
        raise InvalidInput(at_line(line), 'must be an object {"custom_id": ..., "body": {...}}')
    for name, value in values.items():
        if name in FIXED and value != FIXED[name]:
            raise InvalidInput(at_line(line, name), f"must be {FIXED[name]!r} where it is given")
        if name not in MEMBERS and name not in FIXED:
            shown = name[:64] if name.isprintable() else ""
            raise InvalidInput(at_line(line, shown), f"is not a member of a row; there are {' and '.join(MEMBERS)}")
    body = values.get("body")
    if not isinstance(body, dict):
        raise InvalidInput(at_line(line, "body"), "must be an object with the fields of POST /v1/generate")
    return CatalogRow(index, line, checked_id(values.get("custom_id"), at_line(line, "custom_id")), body)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidInput(twice[:64] if twice.isprintable() else "", "is given more than once")
    return values


def _refuse_constant(constant: str) -> NoReturn:
    raise InvalidInput("", f"holds {constant}, which is not a JSON number")
