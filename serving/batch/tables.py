"""Catalogs that are tables, with the fields of a request as columns: CSV and Parquet."""

import csv
from collections.abc import Iterator, Sequence
from typing import Any, Final

from choreo.errors import InvalidInput
from serving.batch.catalog import CATALOG, COLUMNS, MAX_LINE_BYTES, CatalogRow, at_line, base_of, sha256_of
from serving.batch.jsonl import numbered_lines
from serving.batch.names import checked_id
from serving.pipeline.directing import STRUCTURED
from serving.pipeline.fields import GenerateFields
from serving.pipeline.text_values import field_kind, typed_text

ROWS: Final = 1024
"""Rows of a Parquet file that are held at a time."""


class CsvCatalog:
    """A CSV file (RFC 4180) in UTF-8 with a header. An empty cell is a field that is not given."""

    follows_links = False

    def __init__(self, system: Any, path: str) -> None:
        self._system, self._path = system, path
        self.base = base_of(system, path)

    def rows(self) -> Iterator[CatalogRow]:
        """All items; see `Catalog.rows`."""
        with self._system.open(self._path, "rb") as file:
            lines = _Records(file)
            reader = csv.reader(lines, strict=True)
            try:
                header = next(reader, [])
                _check_columns(header)
                index = 0
                while (cells := _next(reader, lines)) is not None:
                    if cells:
                        yield _csv_row(index, lines.first, header, cells)
                        index += 1
            except csv.Error as error:
                raise InvalidInput(at_line(lines.first), f"is not valid CSV: {error}") from error

    def digest(self) -> str:
        """SHA-256 (hex) of the file."""
        return sha256_of(self._system, self._path)


class ParquetCatalog:
    """A Parquet file. Null is a field that is not given."""

    follows_links = False

    def __init__(self, system: Any, path: str) -> None:
        self._system, self._path = system, path
        self.base = base_of(system, path)

    def rows(self) -> Iterator[CatalogRow]:
        """All items; see `Catalog.rows`. The line is the number of the row, from 1."""
        import pyarrow as pa
        from pyarrow import parquet

        with self._system.open(self._path, "rb") as file:
            try:
                table = parquet.ParquetFile(file)
                _check_columns(table.schema_arrow.names)
                index = 0
                for batch in table.iter_batches(batch_size=ROWS):
                    for values in batch.to_pylist():
                        yield _parquet_row(index, values)
                        index += 1
            except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
                raise InvalidInput(CATALOG, f"is not a readable Parquet file: {_first_line(error)}") from error

    def digest(self) -> str:
        """SHA-256 (hex) of the file."""
        return sha256_of(self._system, self._path)


class _Records:
    """Lines for the CSV reader, which remembers where a record began and bounds its length."""

    def __init__(self, file: Any) -> None:
        self._lines = numbered_lines(file)
        self.first, self.size = 1, 0

    def begin(self) -> None:
        """The next line begins a record."""
        self.size = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        number, text = next(self._lines)
        if not self.size:
            self.first = number
        self.size += len(text)
        if self.size > MAX_LINE_BYTES:
            raise InvalidInput(at_line(self.first), f"begins a record longer than {MAX_LINE_BYTES >> 20} MiB")
        return text


def _next(reader: Iterator[list[str]], lines: _Records) -> list[str] | None:
    lines.begin()
    return next(reader, None)


def _check_columns(names: Sequence[str]) -> None:
    for name in names:
        if name not in COLUMNS:
            shown = repr(name[:64])
            raise InvalidInput(f"{CATALOG} column {shown}", f"is not known; there are {', '.join(sorted(COLUMNS))}")
    twice = next((name for name in names if list(names).count(name) > 1), None)
    if twice is not None:
        raise InvalidInput(f"{CATALOG} column {twice!r}", "is there more than once")
    if "custom_id" not in names:
        raise InvalidInput(f"{CATALOG} column 'custom_id'", "is missing")


def _csv_row(index: int, line: int, header: Sequence[str], cells: Sequence[str]) -> CatalogRow:
    if len(cells) != len(header):
        raise InvalidInput(at_line(line), f"has {len(cells)} cells, and the header {len(header)}")
    given = {name: cell for name, cell in zip(header, cells, strict=True) if cell}
    custom_id = checked_id(given.pop("custom_id", ""), at_line(line, "custom_id"))
    try:
        body = {
            # A structured field may be the path of a file, which is read when its item is tried.
            name: cell if name in STRUCTURED else typed_text(name, cell, GenerateFields)
            for name, cell in given.items()
        }
    except InvalidInput as error:
        return CatalogRow(index, line, custom_id, given, error)
    return CatalogRow(index, line, custom_id, body)


def _parquet_row(index: int, values: dict[str, Any]) -> CatalogRow:
    line = index + 1
    given = {name: value for name, value in values.items() if value is not None}
    custom_id = given.pop("custom_id", None)
    if isinstance(custom_id, int):
        custom_id = str(custom_id)
    custom_id = checked_id(custom_id, at_line(line, "custom_id"))
    for name, value in given.items():
        # A column of whole numbers with gaps is often written as one of floats.
        if isinstance(value, float) and value.is_integer() and field_kind(name, GenerateFields) is int:
            given[name] = int(value)
    return CatalogRow(index, line, custom_id, given)


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]
