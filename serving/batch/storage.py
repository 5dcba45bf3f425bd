"""Folders of results and catalogs: on this machine, or at any fsspec address."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, Protocol

from choreo.errors import InvalidInput, MissingDependency
from choreo.files import atomic_write, replacing
from serving.util.ownership import owner_prefix

LOCAL_PROTOCOLS: Final = ("file", "local")
_PROTOCOL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


def protocol_of(address: str) -> str:
    """The fsspec protocol that an address names; empty for a path."""
    found = _PROTOCOL.match(address)
    return "" if found is None else found[1].lower()


def is_local(address: str) -> bool:
    """Whether an address is a path of this machine."""
    return protocol_of(address) in ("", *LOCAL_PROTOCOLS)


def local_path(address: str) -> Path:
    """The path of a local address, which may begin with file://."""
    return Path(_PROTOCOL.sub("", address, count=1))


def open_filesystem(address: str, field: str) -> tuple[Any, str]:
    """The fsspec file system of an address, and the path in it.

    Raises:
        InvalidInput: no such protocol, or one address within another.
        MissingDependency: the protocol's package is not installed.
    """
    import fsspec

    if "::" in address:
        raise InvalidInput(field, f"must be one address, without '::', got {address[:64]!r}")
    try:
        system, path = fsspec.core.url_to_fs(address)
    except ImportError as error:
        raise MissingDependency(f"{field}: {address[:64]!r} needs a package that is not installed: {error}") from error
    except ValueError as error:
        raise InvalidInput(field, f"is not an address that can be opened: {error}") from error
    return system, str(path)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Have errors of the system name the file; those of a full disk do not by themselves."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


class Store(Protocol):
    """A folder that files appear in, whole or not at all. Names are relative, with forward slashes."""

    def write(self, name: str, data: bytes) -> None:
        """Write a file; when this returns it is durable.

        Raises:
            OSError: it could not be written.
        """
        ...

    def writing(self, name: str) -> Any:
        """Context manager: an open binary file that becomes the named one when the block succeeds."""
        ...

    def read(self, name: str) -> bytes | None:
        """Content of a file; None if there is none."""
        ...

    def names(self, folder: str) -> list[str]:
        """Names of the files in a folder below, sorted."""
        ...


@dataclass(frozen=True)
class LocalStore:
    """A folder of this machine."""

    root: Path

    def write(self, name: str, data: bytes) -> None:
        """Write by a temporary file, fsync and rename."""
        path = self.root / name
        with naming(path):
            try:
                atomic_write(path, data)
            except FileNotFoundError:
                path.parent.mkdir(parents=True, exist_ok=True)
                atomic_write(path, data)

    @contextmanager
    def writing(self, name: str) -> Iterator[IO[bytes]]:
        """An open temporary file next to the named one, which it replaces."""
        path = self.root / name
        with naming(path), replacing(path) as temporary, temporary.open("wb") as file:
            yield file

    def read(self, name: str) -> bytes | None:
        """Content of a file; None if there is none."""
        try:
            return (self.root / name).read_bytes()
        except FileNotFoundError:
            return None

    def names(self, folder: str) -> list[str]:
        """Names of the files in a folder below, sorted."""
        path = self.root / folder
        return sorted(entry.name for entry in path.iterdir()) if path.is_dir() else []


@dataclass(frozen=True)
class RemoteStore:
    """A folder at an fsspec address. A file is written by one PUT, so that readers see all of it or nothing."""

    address: str

    def write(self, name: str, data: bytes) -> None:
        """Write by one call of the file system."""
        system, path = self._at(name)
        try:
            system.pipe_file(path, data)
        except FileNotFoundError:  # those that have folders
            system.makedirs(path.rpartition("/")[0], exist_ok=True)
            system.pipe_file(path, data)

    @contextmanager
    def writing(self, name: str) -> Iterator[IO[bytes]]:
        """An open temporary file of this machine, which is sent at the end."""
        folder = Path(tempfile.mkdtemp(prefix=owner_prefix()))
        try:
            with (folder / "file").open("wb") as file:
                yield file
            system, path = self._at(name)
            system.put_file(str(folder / "file"), path)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def read(self, name: str) -> bytes | None:
        """Content of a file; None if there is none."""
        system, path = self._at(name)
        try:
            return bytes(system.cat_file(path))
        except FileNotFoundError:
            return None

    def names(self, folder: str) -> list[str]:
        """Names of the files in a folder below, sorted."""
        system, path = self._at(folder)
        system.invalidate_cache()
        try:
            return sorted(str(name).rpartition("/")[2] for name in system.ls(path, detail=False))
        except FileNotFoundError:
            return []

    def _at(self, name: str) -> tuple[Any, str]:
        system, path = open_filesystem(self.address, "out")
        return system, f"{path.rstrip('/')}/{name}"


def open_store(address: str, field: str = "out") -> Store:
    """The folder of results; a local one is made.

    Raises:
        InvalidInput: it is a file, or cannot be written to.
        MissingDependency: the address needs a package that is not installed.
    """
    if not address:
        raise InvalidInput(field, "must not be empty")
    if not is_local(address):
        system, path = open_filesystem(address, field)
        if system.isfile(path):
            raise InvalidInput(field, f"{address} is a file; give a folder")
        return RemoteStore(address)
    folder = local_path(address).absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise InvalidInput(field, f"{address} is a file; give a folder") from error
    except OSError as error:
        raise InvalidInput(field, f"{address} cannot be made: {error.strerror or error}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InvalidInput(field, f"{address} cannot be written to")
    return LocalStore(folder)
