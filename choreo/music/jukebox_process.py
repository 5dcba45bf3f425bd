"""Jukebox in a process of its own, run by another interpreter: the parent's side of `choreo.music.jukebox_worker`."""

import json
import os
import subprocess
import tempfile
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from choreo.errors import BackendUnavailable, ChoreoError, InvalidArtifact, MissingDependency
from choreo.music import jukebox_worker

LOAD_SECONDS: Final = 1800.0
"""Limit for loading the weights, 10 GB that may have to come from a slow disk."""
WINDOW_SECONDS: Final = 600.0
"""Limit for one window of 24 s; a GPU needs about one, a CPU minutes."""

_ERRORS: Final[dict[Any, type[ChoreoError]]] = {"missing": MissingDependency, "wrong": InvalidArtifact}
_HEADER_BYTES: Final = 1 << 16
_MAX_MESSAGE: Final = 1000
_MAX_SAMPLES: Final = 1 << 24


class JukeboxProcess:
    """A `WindowModel` whose work is done by a worker process. It must not be used by two threads at a time.

    Args:
        python: the interpreter, of an environment with transformers 4.57, torch and NumPy.
        options: arguments of `jukebox_worker.load`.
        load_seconds, window_seconds: time limits.

    Attributes:
        samples: N, length of a window at 44.1 kHz.

    Raises:
        MissingDependency: there is no such interpreter, or it lacks the packages or the weights.
        InvalidArtifact: the weights are those of another model.
        BackendUnavailable: the worker ended unexpectedly or exceeded its time limit.
    """

    def __init__(
        self,
        python: str | Path,
        options: dict[str, Any],
        load_seconds: float = LOAD_SECONDS,
        window_seconds: float = WINDOW_SECONDS,
    ) -> None:
        self._window_seconds = window_seconds
        self._dim = int(options["dim"])
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115
        # Isolated from this program's packages: PYTHONPATH and the script's folder stay out of the worker's path.
        command = [str(python), "-I", jukebox_worker.__file__, json.dumps(options)]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                env=os.environ | {"HF_HUB_OFFLINE": "1"},
            )
        except OSError as error:
            self._stderr.close()
            raise MissingDependency(f"cannot run the Jukebox interpreter {str(python)!r}: {error.strerror}") from error
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        self._close = weakref.finalize(self, _end, self._process, self._stderr)
        with self._limited(load_seconds, "loading Jukebox"):
            self.samples, self._frames = _checked_sizes(self._header())

    def activations(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Activations float32 (F, dim) of audio float32 (N,). The process ends with the first error.

        Raises:
            BackendUnavailable: the worker failed, ended unexpectedly or exceeded its time limit.
        """
        if samples.shape != (self.samples,):
            raise ValueError(f"a window has {self.samples} samples, got shape {samples.shape}")
        size = 4 * self._frames * self._dim
        with self._limited(self._window_seconds, "a window of Jukebox"):
            self._stdin.write(np.ascontiguousarray(samples, np.float32).data)
            self._stdin.flush()
            self._header()
            data = self._stdout.read(size)
            if len(data) != size:
                raise EOFError
        return np.frombuffer(data, np.float32).reshape(self._frames, self._dim)

    def close(self) -> None:
        """End the process."""
        self._close()

    @contextmanager
    def _limited(self, seconds: float, what: str) -> Iterator[None]:
        """Kill the process when the block takes too long, and end it when the block fails."""
        expired = threading.Event()

        def kill() -> None:
            expired.set()
            self._process.kill()

        timer = threading.Timer(seconds, kill)
        timer.daemon = True
        timer.start()
        try:
            yield
        except (OSError, EOFError, ValueError, LookupError, TypeError) as error:
            reason = self._last_line() or repr(error)
            self.close()
            if expired.is_set():
                raise BackendUnavailable(f"{what} took longer than {seconds:g} s") from error
            raise BackendUnavailable(f"the Jukebox process failed: {reason}") from error
        except BaseException:
            self.close()
            raise
        finally:
            timer.cancel()

    def _header(self) -> dict[str, Any]:
        """The header line of the next answer; an error in it is raised as the typed one."""
        line = self._stdout.readline(_HEADER_BYTES)
        if not line.endswith(b"\n"):
            raise EOFError
        header = json.loads(line)
        if not isinstance(header, dict):
            raise ValueError("not an answer of the Jukebox worker")
        if "error" in header:
            raise _ERRORS.get(header.get("kind"), BackendUnavailable)(str(header["error"])[:_MAX_MESSAGE])
        return header

    def _last_line(self) -> str:
        """What the process wrote last to its standard error."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(1)
        if self._stderr.closed:
            return ""
        self._stderr.seek(max(self._stderr.seek(0, os.SEEK_END) - (1 << 14), 0))
        lines = self._stderr.read().decode(errors="replace").strip().splitlines()
        return lines[-1][:300] if lines else ""


def _checked_sizes(header: dict[str, Any]) -> tuple[int, int]:
    samples, frames = int(header["samples"]), int(header["frames"])
    if not 0 < samples <= _MAX_SAMPLES or frames != samples // jukebox_worker.SAMPLES_PER_FRAME:
        raise ValueError(f"windows of {samples} samples and {frames} frames")
    return samples, frames


def _end(process: "subprocess.Popen[bytes]", stderr: Any) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout, stderr):
        if stream is not None:
            with suppress(OSError):  # data that could not be flushed into the pipe of a dead process
                stream.close()
