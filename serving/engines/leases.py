"""Which generators a local Triton serves, and who uses them: a folder that supervisor and samplers of a host share.

The supervisor writes `served.json`; a sampler holds a shared lock on a generator's file as long as it has requests for
it. To unload or reload a generator, the supervisor takes it off the list or pauses it, waits until it gets the file's
exclusive lock, and only then has Triton change anything. Locks of a killed process are released by the kernel.
"""

import asyncio
import contextlib
import fcntl
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from choreo.files import atomic_write
from serving.errors import ModelUnavailable

SERVED: Final = "served.json"
POLL_S: Final = 0.05
"""Time between looks of a request that waits for a generator which is being reloaded."""


@dataclass(frozen=True)
class Served:
    """Generators by name, the default one first.

    Attributes:
        paused: those among them whose new requests wait for a reload.
        revision: number of the publication; a reload shows in it even where names are the same after it.
        restarts: how often Triton was started again.
    """

    names: tuple[str, ...]
    paused: frozenset[str] = frozenset()
    revision: int = 0
    restarts: int = 0


class LeaseBoard:
    """The supervisor's side.

    Attributes:
        restarts: how often Triton was started again, which is published with everything else.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._revision, self.restarts = folder, 0, 0
        folder.mkdir(parents=True, exist_ok=True)

    def publish(self, names: Sequence[str], paused: Sequence[str] = ()) -> None:
        """Say what is served from now on."""
        self._revision += 1
        document = {
            "names": list(names),
            "paused": list(paused),
            "revision": self._revision,
            "restarts": self.restarts,
        }
        atomic_write(self._folder / SERVED, json.dumps(document).encode())

    @contextlib.contextmanager
    def unused(self, name: str) -> Iterator[bool]:
        """Whether no sampler has requests for a generator; inside, none can begin to."""
        with (self._folder / f"{name}.lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True


class Leases:
    """A sampler's side.

    Args:
        folder: of the board; None where Triton is not supervised on this host, and models are always usable.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._counts: Counter[str] = Counter()
        self._files: dict[str, IO[str]] = {}
        self._seen: tuple[int, int] | None = None
        self._served: Served | None = None

    def served(self) -> Served | None:
        """What the supervisor serves now; None where there is no supervisor."""
        if self._folder is None:
            return None
        path = self._folder / SERVED
        try:
            stat = path.stat()
            if self._seen != (stat.st_ino, stat.st_mtime_ns):
                document = json.loads(path.read_text())
                names, paused = tuple(document["names"]), frozenset(document["paused"])
                self._served = Served(names, paused, document["revision"], document["restarts"])
                self._seen = stat.st_ino, stat.st_mtime_ns
        except FileNotFoundError:  # the supervisor has gone, and its folder with it
            self._served, self._seen = Served(()), None
        return self._served

    def held(self, name: str) -> bool:
        """Whether a request of this sampler holds a generator."""
        return self._counts[name] > 0

    @contextlib.asynccontextmanager
    async def hold(self, name: str) -> AsyncIterator[None]:
        """Keep a generator loaded while a request uses it. A request waits while the generator is being reloaded.

        Raises:
            ModelUnavailable: it was unloaded meanwhile.
        """
        if self._folder is None:
            yield
            return
        while not self._acquired(self._folder, name):
            await asyncio.sleep(POLL_S)
        try:
            yield
        finally:
            self._counts[name] -= 1
            if not self._counts[name]:
                self._files.pop(name).close()

    def _acquired(self, folder: Path, name: str) -> bool:
        file = self._files.get(name)
        if file is None:
            try:
                file = (folder / f"{name}.lock").open("a")
            except FileNotFoundError:  # the supervisor has gone, and its folder with it
                raise ModelUnavailable(f"the model {name} was unloaded") from None
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
                return False
        # After the lock, so that the supervisor either sees the lock or has been seen.
        served = self.served()
        if served is None or name not in served.names or name in served.paused:
            if name not in self._files:
                file.close()
            if served is None or name not in served.names:
                raise ModelUnavailable(f"the model {name} was unloaded")
            return False
        self._files[name] = file
        self._counts[name] += 1
        return True
