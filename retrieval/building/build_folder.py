"""The folder `.NAME.build` next to a library under construction: a lock, the unfinished files and the journal."""

import fcntl
import os
import shutil
from pathlib import Path
from typing import Final

from choreo.errors import InvalidInput

_TRIES: Final = 10


class BuildFolder:
    """Work folder of a build, held by one process at a time; one that is killed releases it and leaves its journal.

    Attributes:
        part: folder of the unfinished library, empty at first.
        scratch: folder of temporary files, empty at first.
        journal: folder of finished recordings, kept from a build that did not finish.

    Args:
        target: folder that the library will be.
    Raises:
        InvalidInput: another process builds the same library.
        OSError: the parent folder cannot be written.
    """

    def __init__(self, target: Path) -> None:
        self._root = target.parent / f".{target.name}.build"
        self._lock = self._locked()
        self.part, self.scratch, self.journal = (self._root / name for name in ("part", "scratch", "journal"))
        try:
            for folder in (self.part, self.scratch):
                if folder.exists():
                    shutil.rmtree(folder)
                folder.mkdir()
            self.journal.mkdir(exist_ok=True)
        except BaseException:
            os.close(self._lock)
            raise

    def close(self, keep_journal: bool) -> None:
        """Release the lock and remove the folder, except for a journal that is to be kept and has entries."""
        try:
            shutil.rmtree(self.part, ignore_errors=True)
            shutil.rmtree(self.scratch, ignore_errors=True)
            if not (keep_journal and any(self.journal.iterdir())):
                shutil.rmtree(self._root, ignore_errors=True)
        finally:
            os.close(self._lock)

    def _locked(self) -> int:
        """Descriptor of the lock file; the lock ends with this process."""
        path = self._root / "lock"
        for _ in range(_TRIES):
            self._root.mkdir(parents=True, exist_ok=True)
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            except FileNotFoundError:
                continue  # the builder before has just removed the folder
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # A lock on a file that has been removed excludes no process.
                if os.stat(path).st_ino == os.fstat(descriptor).st_ino:
                    return descriptor
            except BlockingIOError as error:
                os.close(descriptor)
                raise InvalidInput("out", f"is being built by another process, which holds {path}") from error
            except FileNotFoundError:
                pass
            os.close(descriptor)
        raise InvalidInput("out", f"cannot be locked: {path} comes and goes")
