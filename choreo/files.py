"""Files and folders that appear whole or not at all, and their hashes."""

import ctypes
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield an empty temporary file next to `path` that takes its place when the block succeeds.

    The data and the folder's entry are on disk when the block has been left. When it fails, `path` is as it was and
    the temporary file is gone.

    Raises:
        OSError: the folder is missing or full, or may not be written.
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
    """Write `data` to `path` so that no reader, and no crash, ever finds half of it."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def sync(path: Path) -> None:
    """Wait until a file's data, or a folder's entries, are on disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def swap_folder(part: Path, target: Path) -> None:
    """Put the folder `part` in the place of `target`, on the same file system; what was there is removed."""
    if not target.exists():
        os.rename(part, target)
        return
    if _exchange(part, target):
        shutil.rmtree(part, ignore_errors=True)
        return
    # The file system cannot exchange two folders: for a moment neither is in place.
    old = part.with_name(f"{part.name}-old.part")
    os.rename(target, old)
    os.rename(part, target)
    shutil.rmtree(old, ignore_errors=True)


def file_sha256(path: Path) -> str:
    """Hash of a file's content, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _exchange(a: Path, b: Path) -> bool:
    """Swap two directory entries in one step, if kernel and file system can."""
    at_cwd, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    libc = ctypes.CDLL(None, use_errno=True)
    with suppress(AttributeError):  # a C library without renameat2
        return bool(libc.renameat2(at_cwd, os.fsencode(a), at_cwd, os.fsencode(b), exchange) == 0)
    return False
