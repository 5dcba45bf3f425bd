"""Log lines of child processes on the standard error of the one that started them: through a socket in a folder of it.

Lines of several processes that shared a pipe could be mixed, and Ray keeps the standard error of its workers in files.
"""

import logging
import shutil
import socket
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from serving.util.ownership import owner_prefix
from serving.util.temporary import safe_folder

NAME: Final = "log"
LONGEST: Final = 32
"""Characters of the folder that the socket's folder is in; paths of sockets have at most 107."""
MAX_BYTES: Final = 1 << 17
"""Longest line."""
PATIENCE_S: Final = 0.2
"""How long a line may wait until the other end takes it."""
AWAY_S: Final = 5.0
"""Time for which a process does without a receiver that took nothing."""


class LogReceiver:
    """Context manager: a socket whose lines are written to standard error. Its `path` is what others need.

    Attributes:
        silent: drop what comes, because Ray reports the end of its actors as failures.
    """

    def __init__(self) -> None:
        self.silent = False
        self.path = ""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._thread = threading.Thread(target=self._run, name="logs", daemon=True)

    def __enter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix=owner_prefix(), dir=safe_folder(LONGEST)))
        self.path = str(self._folder / NAME)
        self._socket.bind(self.path)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as own:
            own.sendto(b"", self.path)  # behind the lines that have come
        self._thread.join()
        self._socket.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _run(self) -> None:
        while line := self._socket.recv(MAX_BYTES):
            with suppress(OSError, ValueError):  # nobody reads standard error any more
                if not self.silent:
                    sys.stderr.write(line.decode(errors="replace") + "\n")
                    sys.stderr.flush()


class LogSocketHandler(logging.Handler):
    """Sends lines to a `LogReceiver`; where it is gone or takes nothing, they go to this process's standard error.

    Args:
        path: of the receiver's socket.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path
        self._away_until = 0.0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(PATIENCE_S)

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record's line."""
        try:
            line = self.format(record)
            if not self._sent(line.encode(errors="replace")):
                stderr = sys.__stderr__ or sys.stderr
                stderr.write(line + "\n")
                stderr.flush()
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
        super().close()

    def _sent(self, line: bytes) -> bool:
        if time.monotonic() < self._away_until:
            return False
        try:
            self._socket.sendto(line, self._path)
        except OSError:  # a timeout is one
            self._away_until = time.monotonic() + AWAY_S
            return False
        return True
