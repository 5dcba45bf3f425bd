"""Progress lines on standard error."""

import sys
import time
from types import TracebackType
from typing import Final, Self

SELDOM_S: Final = 10.0
"""Seconds between lines if standard error is not a terminal."""


class Progress:
    """Context manager. On a terminal a line replaces the previous one; elsewhere one is written every `SELDOM_S`."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._last = time.monotonic()
        self._line = self._written = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._line != self._written:
            self._write(self._line)
        if self._terminal and self._written:
            print(file=sys.stderr)

    def show(self, line: str) -> None:
        """Report progress in one line."""
        self._line = line
        if self._terminal or time.monotonic() - self._last >= SELDOM_S:
            self._last = time.monotonic()
            self._write(line)

    def _write(self, line: str) -> None:
        self._written = line
        if self._terminal:
            print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)
        else:
            print(line, file=sys.stderr, flush=True)
