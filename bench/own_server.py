"""`choreo serve` for the time of a benchmark."""

import contextlib
import re
import subprocess
import sys
from collections.abc import Iterator

from choreo.errors import BackendUnavailable


@contextlib.contextmanager
def own_server() -> Iterator[tuple[str, int]]:
    """Start `choreo serve` on a free port, and stop it; yields its address and process.

    Raises:
        BackendUnavailable: it ended before it served.
    """
    command = [sys.executable, "-P", "-m", "serving.cli.main", "serve", "--port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if found := re.search(r"serving on (http://\S+)", line):
                yield found[1], process.pid
                return
        raise BackendUnavailable("the server ended before it served")
    finally:
        process.terminate()
        process.wait()
