"""File parts of requests: songs, music features and motion, read while they are sent."""

import io
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

from choreo.errors import InvalidInput

Progress = Callable[[int, int], None]
"""Told the bytes that were sent and those that there are. It is called while a request is under way, and again from 0
when the request is repeated."""
Source = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO
"""A path, the bytes of a file, or an open binary file."""

MAX_BYTES: Final = 1 << 30
"""Largest file that is sent. A server usually takes less and says so."""


@dataclass(frozen=True)
class Upload:
    """A file part of a form.

    Attributes:
        part: name of the part.
        filename: what the file is called on its way.
        size: in bytes.
        open: opens it anew, for every attempt to send it.
    """

    part: str
    filename: str
    size: int
    open: Callable[[], AbstractContextManager[BinaryIO]]


def upload(source: Source, part: str, field: str | None = None) -> Upload:
    """A file part from whatever a caller has.

    An open file is sent from its beginning; one that cannot be rewound is read to its end now.

    Args:
        source: a path, bytes, or a file that was opened in binary mode and stays open.
        part: name of the part.
        field: name in errors; omitted: the part's.

    Raises:
        InvalidInput: there is no such file, it is empty or too large, or this is no source.
    """
    field = field or part
    if isinstance(source, str | os.PathLike):
        return _of_path(Path(source), part, field)
    if isinstance(source, bytes | bytearray | memoryview):
        return of_bytes(bytes(source), part, part, field)
    if not hasattr(source, "read"):
        raise InvalidInput(field, f"must be a path, bytes or a binary file, got {type(source).__name__}")
    return _of_file(source, part, field)


def of_bytes(data: bytes, part: str, filename: str, field: str | None = None) -> Upload:
    """A file part from the bytes of a file.

    Raises:
        InvalidInput: there are none, or too many.
    """
    return Upload(part, filename, _checked(len(data), field or part), lambda: io.BytesIO(data))


@contextmanager
def readable(uploads: Iterable[Upload], progress: Progress | None) -> Iterator[list[tuple[str, tuple[str, Any]]]]:
    """Yield (part, (file name, file)) of each upload, as httpx takes them.

    A file is opened when it is first read and closed at its end, so that any number of them can be sent.

    Raises:
        InvalidInput: while it is read, a file has gone or became shorter.
    """
    uploads = tuple(uploads)
    count = _Count(sum(each.size for each in uploads), progress)
    files = [_Counted(each, count) for each in uploads]
    try:
        yield [(each.part, (each.filename, file)) for each, file in zip(uploads, files, strict=True)]
    finally:
        for file in files:
            file.close()


class _Count:
    """How much of an attempt's uploads has been sent."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self._total, self._sent, self._progress = total, 0, progress

    def add(self, sent: int) -> None:
        self._sent += sent
        if self._progress is not None and sent:
            self._progress(self._sent, self._total)


class _Counted:
    """A file as httpx reads it: exactly as many bytes as were announced."""

    def __init__(self, upload: Upload, count: _Count) -> None:
        self._upload, self._count, self._at = upload, count, 0
        self._opened, self._file = ExitStack(), cast(BinaryIO | None, None)

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Rewind, or tell the length: all that httpx asks for."""
        if whence == os.SEEK_END:
            return self._upload.size
        self.close()
        self._at = 0
        return 0

    def read(self, size: int = -1) -> bytes:
        left = self._upload.size - self._at
        if not left:
            self.close()
            return b""
        block = self._source().read(left if size < 0 else min(size, left))
        if not block:
            raise InvalidInput(self._upload.part, f"{self._upload.filename} became shorter while it was sent")
        self._at += len(block)
        self._count.add(len(block))
        return block

    def close(self) -> None:
        self._file = None
        self._opened.close()

    def _source(self) -> BinaryIO:
        if self._file is None:
            try:
                self._file = self._opened.enter_context(self._upload.open())
            except OSError as error:
                reason = error.strerror or error
                raise InvalidInput(self._upload.part, f"{self._upload.filename} cannot be read: {reason}") from error
            self._file.seek(0)
        return self._file


def _of_path(path: Path, part: str, field: str) -> Upload:
    try:
        found = path.stat()
    except (OSError, ValueError) as error:
        raise InvalidInput(field, f"{path} does not exist or cannot be read") from error
    if not stat.S_ISREG(found.st_mode):
        raise InvalidInput(field, f"{path} is not a regular file")
    return Upload(part, _sendable(path.name), _checked(found.st_size, field), lambda: path.open("rb"))


def _of_file(file: BinaryIO, part: str, field: str) -> Upload:
    name = _sendable(Path(str(getattr(file, "name", part))).name) or part
    if not file.seekable():
        return of_bytes(_bytes(file.read(MAX_BYTES + 1), field), part, name, field)
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    _bytes(file.read(0), field)
    return Upload(part, name, _checked(size, field), lambda: nullcontext(file))


def _sendable(name: str) -> str:
    """A file name with question marks for what is no text in it."""
    return name.encode("utf-8", "replace").decode()


def _bytes(data: Any, field: str) -> bytes:
    if not isinstance(data, bytes):
        raise InvalidInput(field, "must be a file that is open in binary mode")
    return data


def _checked(size: int, field: str) -> int:
    if not 1 <= size <= MAX_BYTES:
        raise InvalidInput(field, "is empty" if size < 1 else f"is larger than {MAX_BYTES >> 30} GiB")
    return size
