"""Writing and reading phrase tables by row groups, so that a table may be larger than memory."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from retrieval.library.phrases import Phrase
from retrieval.library.table import PhraseTable

ROWS: Final = 4096
"""Rows of a row group."""


class TableWriter:
    """Appends phrases to a Parquet file; the same phrases in the same order give the same bytes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._buffer: list[Phrase] = []
        self._file: Any = None

    def append(self, phrase: Phrase) -> None:
        """Add a row.

        Raises:
            OSError: the file cannot be written.
        """
        self._buffer.append(phrase)
        if len(self._buffer) >= ROWS:
            self._flush()

    def close(self) -> None:
        """Write the remaining rows and the footer; a second call does nothing.

        Raises:
            OSError: the file cannot be written.
        """
        if self._buffer:
            self._flush()
        self.abandon()

    def abandon(self) -> None:
        """Close the file without the buffered rows."""
        self._buffer.clear()
        if self._file is not None:
            self._file.close()

    def _flush(self) -> None:
        from pyarrow import parquet

        rows = PhraseTable.of(self._buffer).arrow
        if self._file is None:
            self._file = parquet.ParquetWriter(str(self._path), rows.schema, compression="zstd")
        self._file.write_table(rows)
        self._buffer.clear()


def phrase_batches(path: Path) -> Iterator[list[Phrase]]:
    """The phrases of a table file in order, at most `ROWS` at a time."""
    import pyarrow
    from pyarrow import parquet

    with parquet.ParquetFile(str(path)) as file:
        for batch in file.iter_batches(batch_size=ROWS):
            table = PhraseTable(pyarrow.Table.from_batches([batch]))
            yield table.phrases(range(len(table)))
