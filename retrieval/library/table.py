"""The table of a library: one Parquet row per phrase, in the order of the index."""

from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from choreo.errors import InvalidArtifact, MissingDependency
from retrieval.library.phrases import STATS, Phrase
from retrieval.library.song_summary import SUMMARY

OPTIONAL: Final = frozenset({"beat_strength", "music"})
"""Columns that may have empty cells."""
DROPPED: Final = ("kinetic",)
"""Columns of libraries built by version 0.1.0, which nothing reads."""
REPEATED: Final = ("source", "licence", "caption", "genre", "style", "words")
"""Text columns with few distinct values, dictionary-encoded in memory."""
_LISTS: Final = {"stats": len(STATS), "music": len(SUMMARY)}

Cells = Callable[[NDArray[np.int64]], list[Any]]


class PhraseTable:
    """Phrases as Arrow columns; a `Phrase` object is made when a row is read."""

    def __init__(self, table: Any) -> None:
        table = _without_dropped(table)
        # One chunk per column, so that rows are found without a search and numbers are views.
        self._table = table.unify_dictionaries().combine_chunks()
        self._cells = {name: _cells(self._table.column(name)) for name in self._table.column_names}

    @classmethod
    def of(cls, phrases: Sequence[Phrase]) -> "PhraseTable":
        """A table of these phrases.

        Raises:
            MissingDependency: pyarrow is not usable.
        """
        pyarrow, _ = _arrow()
        # Columns are passed as lists, which works with any combination of pyarrow and numpy versions.
        columns = {f.name: [getattr(phrase, f.name) for phrase in phrases] for f in fields(Phrase)}
        return cls(pyarrow.table(columns, schema=_schema(pyarrow)))

    @classmethod
    def read(cls, path: Path) -> "PhraseTable":
        """Read a file that `retrieval.building.table_stream` wrote.

        Raises:
            InvalidArtifact: missing, truncated, or with other columns.
            MissingDependency: pyarrow is not usable.
        """
        pyarrow, parquet = _arrow()
        try:
            table = parquet.read_table(str(path), read_dictionary=list(REPEATED))
        except (OSError, pyarrow.ArrowException) as error:
            raise InvalidArtifact(f"{path.name} is not a readable Parquet file") from error
        table = _without_dropped(table)
        if not table.schema.equals(_schema(pyarrow, in_memory=True)):
            raise InvalidArtifact(f"{path.name} does not have the columns of a phrase table")
        if any(table.column(name).null_count for name in table.column_names if name not in OPTIONAL):
            raise InvalidArtifact(f"{path.name} has empty cells")
        for name, count in _LISTS.items():
            lengths = (chunk.value_lengths().drop_null() for chunk in table.column(name).chunks)
            if any((each.to_numpy(zero_copy_only=False) != count).any() for each in lengths):
                raise InvalidArtifact(f"{path.name} has rows of more or less than {count} numbers in {name}")
        out = cls(table)
        del table
        pyarrow.default_memory_pool().release_unused()
        return out

    @property
    def arrow(self) -> Any:
        """The table with plain columns, as files hold it."""
        return self._table.cast(_schema(_arrow()[0]))

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def __getitem__(self, row: int) -> Phrase:
        return self.phrases([row])[0]

    def phrases(self, rows: Sequence[int] | NDArray[np.int64]) -> list[Phrase]:
        """The phrases of these rows, in this order; one call for many costs a fraction of many calls.

        Raises:
            IndexError: there is no such row.
        """
        wanted = np.asarray(rows, np.int64)
        if len(wanted) and not (wanted.min() >= 0 and wanted.max() < len(self)):
            raise IndexError(f"rows {wanted.min()} to {wanted.max()} of {len(self)}")
        columns = [cells(wanted) for cells in self._cells.values()]
        return [Phrase(**dict(zip(self._cells, row, strict=True))) for row in zip(*columns, strict=True)]

    def numbers(self, name: str) -> NDArray[Any]:
        """A numeric column without empty cells as an array (N,)."""
        out: NDArray[Any] = _chunk(self._table.column(name)).to_numpy(zero_copy_only=False)
        return out

    def codes(self, name: str) -> tuple[NDArray[np.int32], list[str]]:
        """One of the `REPEATED` columns: each phrase's index (N,) into the distinct texts, and those."""
        column = _chunk(self._table.column(name).dictionary_encode())
        return column.indices.to_numpy(zero_copy_only=False), column.dictionary.to_pylist()


def _without_dropped(table: Any) -> Any:
    return table.drop_columns([name for name in DROPPED if name in table.column_names])


def _chunk(column: Any) -> Any:
    """A column's single chunk."""
    return column.chunk(0) if column.num_chunks else column.combine_chunks()


def _cells(column: Any) -> Cells:
    """A function from rows to the column's Python values in them, lists as tuples.

    It reads Arrow's memory through numpy: for a few rows, Arrow's own `take` costs more than the rows themselves.
    """
    from pyarrow import types

    chunk = _chunk(column)
    if types.is_dictionary(chunk.type):
        codes, texts = chunk.indices.to_numpy(zero_copy_only=False), chunk.dictionary
        return lambda rows: [texts[code].as_py() for code in codes[rows].tolist()]
    if types.is_string(chunk.type):
        return lambda rows: [chunk[row].as_py() for row in rows.tolist()]
    if types.is_list(chunk.type):
        ends, numbers = chunk.offsets.to_numpy(), chunk.values.to_numpy(zero_copy_only=False)
        present = chunk.is_valid().to_numpy(zero_copy_only=False)
        return lambda rows: [
            tuple(numbers[first:end].tolist()) if valid else None
            for first, end, valid in zip(ends[rows], ends[rows + 1], present[rows], strict=True)
        ]
    values = chunk.to_numpy(zero_copy_only=False)  # NaN in empty cells
    if not chunk.null_count:
        return lambda rows: list(values[rows].tolist())
    return lambda rows: [None if value != value else value for value in values[rows].tolist()]


def _arrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingDependency(f"phrase libraries need a pyarrow that works with this numpy: {error}") from error
    return pyarrow, parquet


def _schema(pa: Any, in_memory: bool = False) -> Any:
    text, number, numbers = pa.string(), pa.float64(), pa.list_(pa.float64())
    types = {
        "id": text, "source": text, "start": number, "licence": text, "caption": text, "genre": text, "style": text,
        "words": text, "tempo": number, "beat_strength": number, "energy": number, "num_frames": pa.int32(),
        "first_row": pa.int64(), "beats": numbers, "stats": numbers, "music": numbers,
    }  # fmt: skip
    if in_memory:
        types |= {name: pa.dictionary(pa.int32(), text) for name in REPEATED}
    return pa.schema(list(types.items()))
