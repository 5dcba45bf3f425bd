"""What a Triton server writes into its log, as records of this process: in one shape with all other lines."""

import logging
import os
import re
from pathlib import Path
from typing import Final

from serving.util.logs import FIELDS

LOGGER: Final = "tritonserver"
_AT_ONCE: Final = 1 << 20
_LINE: Final = re.compile(r"(?P<level>[IWEF])\d{4} [\d:.]+ (?P<thread>\d+) (?P<source>[\w./+-]+:\d+)\] (?P<message>.*)")
_LEVELS: Final = {"I": logging.INFO, "W": logging.WARNING, "E": logging.ERROR, "F": logging.CRITICAL}

log = logging.getLogger(LOGGER)


class ServerOutput:
    """The lines of a log that were written since it was looked at before.

    Args:
        path: of the log, which need not be there yet; what is in it already is passed over.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = 0
        self._at = 0
        self._rest = b""
        if path.is_file():
            found = path.stat()
            self._file, self._at = found.st_ino, found.st_size

    def pass_on(self) -> None:
        """Log what has come. A log that was moved away is read from its beginning in the place where it was."""
        try:
            with self._path.open("rb") as file:
                found = os.fstat(file.fileno())
                if found.st_ino != self._file or found.st_size < self._at:
                    self._file, self._at, self._rest = found.st_ino, 0, b""
                if found.st_size == self._at:
                    return
                file.seek(self._at)
                new = file.read(_AT_ONCE)
        except OSError:  # it is not there yet, or not any more
            return
        self._at += len(new)
        *lines, self._rest = (self._rest + new).split(b"\n")
        for line in lines:
            if text := line.decode(errors="replace").rstrip():
                _pass_on(text)


def _pass_on(line: str) -> None:
    found = _LINE.fullmatch(line)
    if found is None:  # of its tables, of a backend's process, or of a library
        log.info("%s", line)
        return
    message = found["message"].strip()
    log.log(_LEVELS[found["level"]], "%s", message, extra={FIELDS: {"source": found["source"]}})
