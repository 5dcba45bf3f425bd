"""The journal of a run: one line for every item that was tried, durable before the item counts as done.

A line is `index ok|error row`. It is only ever appended to; a later line of an item replaces an earlier one. What a
crash leaves behind the last whole line is cut off.
"""

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

import numpy as np

from choreo.errors import InvalidArtifact, InvalidInput
from choreo.files import sync
from serving.batch.outcome import Outcome
from serving.batch.storage import LocalStore, Store, naming
from serving.util.ownership import owner_prefix

JOURNAL: Final = "journal.jsonl"
SEGMENTS: Final = "journal"
"""Folder of a journal's pieces where files cannot be appended to."""
GROUP: Final = 16
GROUP_S: Final = 1.0
"""Lines, and seconds, after which those that wait are forced to disk together."""
SEGMENT: Final = 256
SEGMENT_S: Final = 5.0
"""The same for an object store, where each time is an object."""
_LINE: Final = re.compile(rb"(0|[1-9][0-9]{0,17}) (ok|error) (\{.*\})\n")


class Journal:
    """Context manager: the journal of a run, and what it says of every item.

    Args:
        store: folder of the run.
        items: items of the catalog.

    Attributes:
        tried: (items,) whether an item has a line; one that is not yet forced to disk counts.
        failed: (items,) whether it says that the item failed.
    """

    def __init__(self, store: Store, items: int) -> None:
        self._store = store
        self.tried, self.failed = np.zeros(items, np.bool_), np.zeros(items, np.bool_)
        self._at = np.zeros(items, np.int64)
        self._exit = contextlib.ExitStack()
        self._waiting, self._since, self._sent = 0, time.monotonic(), 0

    def __enter__(self) -> Self:
        """Read what there is.

        Raises:
            InvalidInput: another process is at this run.
            InvalidArtifact: the journal is broken before its end, or is of another catalog.
        """
        with contextlib.ExitStack() as stack:
            self._file = stack.enter_context(self._opened(stack))
            end = self._replay()
            self._file.truncate(end)
            self._file.seek(end)
            self._sent = end
            self._exit = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):  # lines that could not be forced to disk have been reported
            self._exit.close()

    @property
    def counts(self) -> dict[str, int]:
        """Items that succeeded and that failed."""
        failed = int(self.failed.sum())
        return {"succeeded": int(self.tried.sum()) - failed, "failed": failed}

    def append(self, outcome: Outcome) -> None:
        """Add a line. It is durable after `flush`, or when enough have come.

        Raises:
            OSError: it could not be written.
        """
        self._note(outcome.index, outcome.succeeded, self._file.tell())
        line = b"%d %s %s\n" % (outcome.index, b"ok" if outcome.succeeded else b"error", outcome.row)
        with naming(Path(self._file.name)):
            self._file.write(line)
        self._waiting += 1
        self.flush_if_due()

    def flush_if_due(self) -> None:
        """Make lines durable that have waited long enough, or are enough together."""
        lines, seconds = (GROUP, GROUP_S) if isinstance(self._store, LocalStore) else (SEGMENT, SEGMENT_S)
        if self._waiting >= lines or (self._waiting and time.monotonic() - self._since >= seconds):
            self.flush()

    def flush(self) -> None:
        """Make all lines durable.

        Raises:
            OSError: they could not be written.
        """
        if self._waiting:
            with naming(Path(self._file.name)):
                self._file.flush()
                if isinstance(self._store, LocalStore):
                    os.fsync(self._file.fileno())
            if not isinstance(self._store, LocalStore):
                self._send()
        self._waiting, self._since = 0, time.monotonic()

    def rows(self, only_failed: bool = False) -> Iterator[bytes]:
        """Rows of the results in the catalog's order, each with the end of its line."""
        self._file.flush()
        with Path(self._file.name).open("rb") as file:
            for index in np.flatnonzero(self.failed if only_failed else self.tried):
                file.seek(int(self._at[index]))
                yield file.readline().split(b" ", 2)[2]

    def _opened(self, stack: contextlib.ExitStack) -> IO[bytes]:
        if not isinstance(self._store, LocalStore):
            folder = Path(tempfile.mkdtemp(prefix=owner_prefix()))
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            self._fetch(folder / JOURNAL)
            return (folder / JOURNAL).open("r+b")
        path = self._store.root / JOURNAL
        path.touch()
        sync(path.parent)
        file = path.open("r+b")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise InvalidInput("out", "another process is working on this run") from None
        return file

    def _fetch(self, path: Path) -> None:
        with path.open("wb") as file:
            for name in self._store.names(SEGMENTS):
                file.write(self._store.read(f"{SEGMENTS}/{name}") or b"")

    def _send(self) -> None:
        """One object with the lines since the last one; its name says where they are in the whole."""
        end = self._file.tell()
        self._file.seek(self._sent)
        data = self._file.read(end - self._sent)
        self._store.write(f"{SEGMENTS}/{self._sent:018d}", data)
        self._file.seek(end)
        self._sent = end

    def _replay(self) -> int:
        """Take in all lines; where the last whole one ends."""
        end = 0
        for number, line in enumerate(self._file, 1):
            found = _LINE.fullmatch(line)
            if found is None:
                if self._file.readline():
                    raise InvalidArtifact(f"line {number} of {JOURNAL} is broken; give another folder for the results")
                break
            index = int(found[1])
            if index >= len(self.tried):
                raise InvalidArtifact(f"line {number} of {JOURNAL} is not of this catalog; give another folder")
            self._note(index, found[2] == b"ok", end)
            end += len(line)
        return end

    def _note(self, index: int, succeeded: bool, at: int) -> None:
        self.tried[index], self.failed[index], self._at[index] = True, not succeeded, at
