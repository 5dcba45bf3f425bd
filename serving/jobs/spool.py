"""The spool: songs of jobs that wait, and files of requests that are done, in a folder or at any fsspec address.

`<job>/input/<sha256>` is a part of requests, kept once; `<job>/files/<name>` is a result.
"""

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from choreo.errors import NotSaved
from choreo.files import atomic_write, disk_is_full
from serving.errors import StoreUnavailable

INPUT: Final = "input"
FILES: Final = "files"
JOB_ID: Final = re.compile(r"job-[0-9a-f]{12}-[0-9a-f]{16}")
_NAME: Final = re.compile(r"[0-9a-z][0-9a-z._-]{0,80}")


class Spool:
    """Files of jobs; every method blocks.

    A file appears whole or not at all: by a temporary name, fsync and a new name in a folder, by one upload elsewhere.

    Args:
        address: folder, or fsspec address.

    Raises:
        StoreUnavailable: nothing can be kept at that address.
    """

    def __init__(self, address: str) -> None:
        import fsspec  # when the first job is submitted, and not when a server starts

        try:
            self._fs, self._root = fsspec.core.url_to_fs(address)
        except (ImportError, ValueError, OSError) as error:
            raise StoreUnavailable(f"the spool of jobs cannot be opened: {error}") from error
        self._local = isinstance(self._fs, fsspec.get_filesystem_class("file"))

    def write(self, job_id: str, kind: str, name: str, data: bytes) -> None:
        """Keep a file.

        Raises:
            NotSaved: the disk is full.
            StoreUnavailable: it cannot be written for another reason.
        """
        with _translated():
            if self._local:
                path = Path(self._path(job_id, kind, name))
                path.parent.mkdir(parents=True, exist_ok=True)
                atomic_write(path, data)
            else:
                self._fs.pipe_file(self._path(job_id, kind, name), data)

    def read(self, job_id: str, kind: str, name: str) -> bytes:
        """The bytes of a file.

        Raises:
            FileNotFoundError: it is not there any more.
            StoreUnavailable: it cannot be read.
        """
        with _translated():
            data: bytes = self._fs.cat_file(self._path(job_id, kind, name))
            return data

    def local_path(self, job_id: str, kind: str, name: str) -> Path | None:
        """Where a file is, if that is on this machine."""
        return Path(self._path(job_id, kind, name)) if self._local else None

    def forget(self, job_id: str) -> None:
        """Remove what is kept for a job; nothing is no error.

        Raises:
            StoreUnavailable: it cannot be removed.
        """
        with _translated():
            if self._local:
                shutil.rmtree(self._folder(job_id), ignore_errors=True)
            elif self._fs.exists(self._folder(job_id)):
                self._fs.rm(self._folder(job_id), recursive=True)

    def jobs(self) -> list[str]:
        """Ids of the jobs that something is kept for.

        Raises:
            StoreUnavailable: the spool cannot be read.
        """
        with _translated():
            if not self._fs.exists(self._root):
                return []
            names = [str(path).rstrip("/").rpartition("/")[2] for path in self._fs.ls(self._root, detail=False)]
        return [name for name in names if JOB_ID.fullmatch(name)]

    def _folder(self, job_id: str) -> str:
        if not JOB_ID.fullmatch(job_id):
            raise ValueError(f"not the id of a job: {job_id[:64]!r}")
        return f"{self._root}/{job_id}"

    def _path(self, job_id: str, kind: str, name: str) -> str:
        if kind not in (INPUT, FILES) or not _NAME.fullmatch(name):
            raise ValueError(f"not the name of a file in the spool: {name[:64]!r}")
        return f"{self._folder(job_id)}/{kind}/{name}"


@contextmanager
def _translated() -> Iterator[None]:
    """Errors of any file system as those of this program."""
    try:
        yield
    except (FileNotFoundError, NotSaved):
        raise
    except OSError as error:
        if disk_is_full(error):
            raise NotSaved(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
        raise StoreUnavailable(f"the spool of jobs cannot be used: {error}") from error
    except ValueError:
        raise
    except Exception as error:  # each object store has its own
        raise StoreUnavailable(f"the spool of jobs cannot be used: {error!r}"[:300]) from error


def address_of(data_dir: Path, given: str) -> str:
    """The address that settings name, or the folder in `data_dir`."""
    return given.rstrip("/") or str(data_dir.absolute() / "spool")
