"""The table of a library: one Parquet row per phrase, in the order of the index."""

from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from choreo.errors import InvalidArtifact, MissingDependency
from retrieval.library.phrases import KINETIC, STATS, Phrase
from retrieval.library.song_summary import SUMMARY

OPTIONAL: Final = frozenset({"beat_strength", "music"})
"""Columns that may have empty cells."""
REPEATED: Final = ("source", "licence", "caption", "genre", "style", "words")
"""Columns of texts that many phrases share; in memory each text is there once."""
_LISTS: Final = {"stats": len(STATS), "kinetic": len(KINETIC), "music": len(SUMMARY)}

Cells = Callable[[NDArray[np.int64]], list[Any]]


class PhraseTable:
    """Rows stay in Arrow's columns; a `Phrase` is made of one when it is asked for."""

    def __init__(self, table: Any) -> None:
        # One piece per column, so that rows are found without a search, and numbers are views.
        self._table = table.unify_dictionaries().combine_chunks()
        self._cells = {name: _cells(self._table.column(name)) for name in self._table.column_names}

    @classmethod
    def of(cls, phrases: Sequence[Phrase]) -> "PhraseTable":
        """A table of these phrases."""
        pyarrow, _ = _arrow()
        # Columns go in as lists: that needs no agreement between the versions of pyarrow and numpy.
        columns = {f.name: [getattr(phrase, f.name) for phrase in phrases] for f in fields(Phrase)}
        return cls(pyarrow.table(columns, schema=_schema(pyarrow)))

    @classmethod
    def read(cls, path: Path) -> "PhraseTable":
        """Read what `retrieval.building.table_stream` wrote.

        Raises:
            InvalidArtifact: missing, cut off, or with other columns.
        """
        pyarrow, parquet = _arrow()
        try:
            table = parquet.read_table(str(path), read_dictionary=list(REPEATED))
        except (OSError, pyarrow.ArrowException) as error:
            raise InvalidArtifact(f"{path.name} is not a readable Parquet file") from error
        if not table.schema.equals(_schema(pyarrow, in_memory=True)):
            raise InvalidArtifact(f"{path.name} does not have the columns of a phrase table")
        required = [name for name in table.column_names if name not in OPTIONAL]
        if any(table.column(name).null_count for name in required):
            raise InvalidArtifact(f"{path.name} has empty cells")
        for name, count in _LISTS.items():
            if _lengths(table.column(name)) - {count}:
                raise InvalidArtifact(f"{path.name} has rows of more or less than {count} numbers in {name}")
        out = cls(table)
        del table
        pyarrow.default_memory_pool().release_unused()
        return out

    @property
    def arrow(self) -> Any:
        """The table with plain columns, as files hold it."""
        pyarrow, _ = _arrow()
        return self._table.cast(_schema(pyarrow))

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def __getitem__(self, row: int) -> Phrase:
        return self.phrases([row])[0]

    def phrases(self, rows: Sequence[int] | NDArray[np.int64]) -> list[Phrase]:
        """The phrases of these rows, in this order; many at a time cost a fraction of one by one.

        Raises:
            IndexError: there is no such row.
        """
        wanted = np.asarray(rows, np.int64)
        if len(wanted) and not (wanted.min() >= 0 and wanted.max() < len(self)):
            raise IndexError(f"rows {wanted.min()} to {wanted.max()} of {len(self)}")
        columns = [cells(wanted) for cells in self._cells.values()]
        return [Phrase(**dict(zip(self._cells, row, strict=True))) for row in zip(*columns, strict=True)]

    @cached_property
    def num_frames(self) -> NDArray[np.int64]:
        """Frames of each phrase (N,)."""
        return self._numbers("num_frames").astype(np.int64)

    @cached_property
    def first_row(self) -> NDArray[np.int64]:
        """Where each phrase begins in the motion array (N,)."""
        return self._numbers("first_row").astype(np.int64, copy=False)

    @cached_property
    def tempo(self) -> NDArray[np.float64]:
        """Beats per minute of each phrase (N,), 0 where unknown."""
        return self._numbers("tempo")

    def codes(self, name: str) -> tuple[NDArray[np.int32], list[str]]:
        """One of the `REPEATED` columns: the number (N,) of each phrase's text, and the texts."""
        column = _piece(self._table.column(name).dictionary_encode())
        return column.indices.to_numpy(zero_copy_only=False), column.dictionary.to_pylist()

    def _numbers(self, name: str) -> NDArray[Any]:
        out: NDArray[Any] = _piece(self._table.column(name)).to_numpy(zero_copy_only=False)
        return out


def _piece(column: Any) -> Any:
    """A column in one piece."""
    return column.chunk(0) if column.num_chunks else column.combine_chunks()


def _lengths(column: Any) -> set[int]:
    """Which lengths the lists of a column have."""
    lengths = [chunk.value_lengths().drop_null().to_numpy(zero_copy_only=False) for chunk in column.chunks]
    return set(np.unique(np.concatenate([np.zeros(0, np.int32), *lengths])).tolist())


def _cells(column: Any) -> Cells:
    """A function from rows to a column's Python values there; lists become tuples.

    It reads Arrow's memory through numpy: for a few rows, a call of Arrow's own `take` costs more than they do.
    """
    from pyarrow import types

    piece = _piece(column)
    if types.is_dictionary(piece.type):
        codes, texts = piece.indices.to_numpy(zero_copy_only=False), piece.dictionary
        return lambda rows: [texts[code].as_py() for code in codes[rows].tolist()]
    if types.is_string(piece.type):
        return lambda rows: [piece[row].as_py() for row in rows.tolist()]
    if types.is_list(piece.type):
        ends, numbers = piece.offsets.to_numpy(), piece.values.to_numpy(zero_copy_only=False)
        there = piece.is_valid().to_numpy(zero_copy_only=False)
        return lambda rows: [
            tuple(numbers[first:end].tolist()) if valid else None
            for first, end, valid in zip(ends[rows], ends[rows + 1], there[rows], strict=True)
        ]
    values = piece.to_numpy(zero_copy_only=False)  # NaN in empty cells
    if not piece.null_count:
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
    kinds = {
        "id": pa.string(),
        "source": pa.string(),
        "start": pa.float64(),
        "licence": pa.string(),
        "caption": pa.string(),
        "genre": pa.string(),
        "style": pa.string(),
        "words": pa.string(),
        "tempo": pa.float64(),
        "beat_strength": pa.float64(),
        "energy": pa.float64(),
        "num_frames": pa.int32(),
        "first_row": pa.int64(),
        "beats": pa.list_(pa.float64()),
        "stats": pa.list_(pa.float64()),
        "kinetic": pa.list_(pa.float64()),
        "music": pa.list_(pa.float64()),
    }
    if in_memory:
        kinds |= {name: pa.dictionary(pa.int32(), pa.string()) for name in REPEATED}
    return pa.schema(list(kinds.items()))
