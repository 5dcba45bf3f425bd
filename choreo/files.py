"""Files that appear whole or not at all."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield an empty temporary file beside `path` that takes its place when the block succeeds.

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
        _sync(temporary)
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync(target.parent)


def atomic_write(path: Path, data: bytes) -> None:
    """Write `data` to `path` so that no reader, and no crash, ever finds half of it."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
