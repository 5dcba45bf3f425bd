"""The files that a catalog's rows name: songs, features and starting motions, within the catalog's folder or remote."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from choreo.errors import InvalidInput
from serving.batch.storage import LOCAL_PROTOCOLS, is_local, local_path, open_filesystem, protocol_of


@dataclass(frozen=True)
class AttachmentReader:
    """Reads them, within limits.

    Attributes:
        base: address of the folder that names are relative to.
        follows_links: whether a file below it may be a link that leads out of it.
        protocols: fsspec protocols that an address may have.
        max_bytes: of one file.
    """

    base: str
    follows_links: bool
    protocols: tuple[str, ...]
    max_bytes: int

    def read(self, field: str, name: object) -> bytes:
        """Content of the file that a field names. Blocking.

        Raises:
            InvalidInput: it is no name, leads out of the catalog's folder, is not there, or is too large.
            OSError: it cannot be read.
        """
        if not isinstance(name, str) or not name or not name.isprintable():
            raise InvalidInput(field, "must be the path or the address of a file")
        if "://" in name:
            return self._read(field, name, *self._address(field, name))
        parts = Path(name).parts
        if Path(name).is_absolute() or ".." in parts or "::" in name:
            raise InvalidInput(field, f"must be a path within the catalog's folder, got {name[:100]!r}")
        if not is_local(self.base):
            return self._read(field, name, *open_filesystem(f"{self.base.rstrip('/')}/{'/'.join(parts)}", field))
        base, path = local_path(self.base), local_path(self.base) / name
        if not self.follows_links and not path.resolve().is_relative_to(base.resolve()):
            raise InvalidInput(field, f"is a link that leads out of the catalog's folder: {name[:100]!r}")
        return self._read(field, name, *open_filesystem(str(path), field))

    def _address(self, field: str, name: str) -> tuple[Any, str]:
        protocol = protocol_of(name)
        if protocol in LOCAL_PROTOCOLS or not protocol:
            raise InvalidInput(field, "must be a path within the catalog's folder, or the address of a remote file")
        if protocol not in self.protocols:
            allowed = ", ".join(self.protocols) or "none"
            raise InvalidInput(field, f"has the protocol {protocol}; CHOREO_CATALOG_PROTOCOLS allows {allowed}")
        return open_filesystem(name, field)

    def _read(self, field: str, name: str, system: Any, path: str) -> bytes:
        try:
            if system.isdir(path):
                raise InvalidInput(field, f"is a folder: {name[:100]!r}")
            with system.open(path, "rb") as file:
                data = bytes(file.read(self.max_bytes + 1))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise InvalidInput(field, f"there is no file {name[:100]!r}") from error
        except PermissionError as error:
            raise InvalidInput(field, f"may not be read: {name[:100]!r}") from error
        if len(data) > self.max_bytes:
            raise InvalidInput(field, f"is larger than {self.max_bytes} bytes: {name[:100]!r}")
        return data
