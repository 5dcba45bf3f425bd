"""The table of a library: one Parquet row per phrase, in the order of the index."""

from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from choreo.errors import InvalidArtifact, MissingDependency
from retrieval.phrases import KINETIC, STATS, Phrase

OPTIONAL = frozenset({"beat_strength", "music"})
"""Columns that may have empty cells."""


class PhraseTable:
    """Rows stay in Arrow's columns; a `Phrase` is made of one when it is asked for."""

    def __init__(self, table: Any) -> None:
        self._table = table
        self.num_frames = self._numbers("num_frames")
        self.first_row = self._numbers("first_row")
        """int64 (N,) each."""

    @classmethod
    def of(cls, phrases: Sequence[Phrase]) -> "PhraseTable":
        """A table of these phrases."""
        pyarrow, _ = _arrow()
        # Columns go in as lists: that needs no agreement between the versions of pyarrow and numpy.
        rows = [asdict(p) for p in phrases]
        columns = {name: [row[name] for row in rows] for name in (f.name for f in fields(Phrase))}
        return cls(pyarrow.table(columns, schema=_schema(pyarrow)))

    @classmethod
    def read(cls, path: Path) -> "PhraseTable":
        """Read what `write` wrote.

        Raises:
            InvalidArtifact: missing, cut off, or with other columns.
        """
        pyarrow, parquet = _arrow()
        try:
            table = parquet.read_table(str(path))
        except (OSError, pyarrow.ArrowException) as error:
            raise InvalidArtifact(f"{path.name} is not a readable Parquet file") from error
        if not table.schema.equals(_schema(pyarrow)):
            raise InvalidArtifact(f"{path.name} does not have the columns of a phrase table")
        required = [name for name in table.column_names if name not in OPTIONAL]
        if any(table.column(name).null_count for name in required):
            raise InvalidArtifact(f"{path.name} has empty cells")
        return cls(table)

    def write(self, path: Path) -> None:
        """Write the table as Parquet; equal tables give equal files."""
        _, parquet = _arrow()
        parquet.write_table(self._table, str(path), compression="zstd")

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def __getitem__(self, row: int) -> Phrase:
        if not 0 <= row < len(self):
            raise IndexError(row)
        return _phrase(self._table.slice(row, 1).to_pylist()[0])

    def _numbers(self, column: str) -> NDArray[np.int64]:
        out = np.array(self._table.column(column).to_pylist(), np.int64)
        out.setflags(write=False)
        return out


def _phrase(values: dict[str, Any]) -> Phrase:
    for name, count in (("stats", len(STATS)), ("kinetic", len(KINETIC))):
        if len(values[name]) != count:
            raise InvalidArtifact(f"phrase {values['id']} has {len(values[name])} numbers in {name}, not {count}")
    lists = {name: tuple(values[name]) for name in ("beats", "stats", "kinetic")}
    music = None if values["music"] is None else tuple(values["music"])
    return Phrase(**(values | lists | {"music": music}))


def _arrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingDependency(f"phrase libraries need a pyarrow that works with this numpy: {error}") from error
    return pyarrow, parquet


def _schema(pa: Any) -> Any:
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
    return pa.schema(list(kinds.items()))
