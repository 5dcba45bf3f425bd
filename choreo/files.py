"""Files and folders that appear whole or not at all, also after a crash, and their hashes."""

import ctypes
import errno
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # <fcntl.h>, <linux/fs.h>


def disk_is_full(error: OSError) -> bool:
    """Whether a write failed because the disk, or its owner's share of it, is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield an empty temporary file next to `path` that replaces it when the block succeeds.

    When the block has been left, the data and the directory entry are on disk. When it fails, `path` is unchanged and
    the temporary file is removed.

    Raises:
        OSError: the folder is missing, full or not writable.
    """
    target = Path(path)
    temporary = target.parent / f".{secrets.token_hex(8)}.part"
    # Not tempfile.mkstemp: its mode 0600 would stay with the finished file.
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o666))
    try:
        yield temporary
        sync(temporary)
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync(target.parent)


def atomic_write(path: Path, data: bytes) -> None:
    """Write `data` to `path` so that neither a reader nor a crash ever leaves half of it.

    Raises:
        OSError: the folder is missing, full or not writable.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(data)


@contextmanager
def appearing_together(folder: Path) -> Iterator[Path]:
    """Yield an empty temporary folder whose files move into `folder` when the block succeeds.

    When it fails, nothing is left: `folder` is as it was, or still does not exist. Each file appears whole.

    Raises:
        OSError: at once where nothing can be written there; later where the disk is full.
    """
    target = folder.absolute()
    near = next(parent for parent in (target, *target.parents) if parent.exists())
    part = near / f".{secrets.token_hex(8)}.part"
    part.mkdir()
    try:
        yield part
        _sync_tree(part)
        target.mkdir(parents=True, exist_ok=True)
        for path in sorted(part.iterdir()):
            os.replace(path, target / path.name)
        sync(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def swap_folder(part: Path, target: Path) -> None:
    """Put the finished folder `part` in the place of `target`, on the same file system; an older folder is removed.

    The contents of `part` are forced to disk first. Kernel and file system permitting (renameat2 with
    RENAME_EXCHANGE), there is a whole folder at `target` at every instant. Elsewhere there is none for a moment; a
    crash in that moment leaves the old one at `part` with "-old" before its suffix.

    Raises:
        OSError: a folder cannot be read or renamed; `target` is unchanged.
    """
    _sync_tree(part)
    old = part
    if not target.exists():
        os.rename(part, target)
    elif not _exchange(part, target):
        old = part.with_name(f"{part.stem}-old{part.suffix}")
        os.rename(target, old)
        try:
            os.rename(part, target)
        except BaseException:
            os.rename(old, target)
            raise
    sync(target.parent)
    shutil.rmtree(old, ignore_errors=True)


def sync(path: Path) -> None:
    """Force the data of a file, or the entries of a folder, to disk.

    Raises:
        OSError: it cannot be opened or written.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def file_sha256(path: Path) -> str:
    """SHA-256 (64 hex digits) of a file's content, read in pieces.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync_tree(folder: Path) -> None:
    for parent, _, names in os.walk(folder):
        for name in names:
            sync(Path(parent, name))
        sync(Path(parent))


def _exchange(one: Path, other: Path) -> bool:
    """Swap two directory entries in one step; False where the C library, the kernel or the file system cannot."""
    renameat2 = getattr(ctypes.CDLL(None), "renameat2", None)
    if renameat2 is None:
        return False
    return bool(renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0)
