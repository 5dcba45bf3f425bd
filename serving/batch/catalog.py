"""Catalogs: what every kind has, and the kind that an address names.

A catalog is read twice, from its beginning to its end and never as a whole: once before work starts, to find what is
wrong with it and how long it is, and once to hand its rows out.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol

from choreo.errors import InvalidInput
from serving.batch.storage import is_local, local_path, open_filesystem
from serving.pipeline.fields import GenerateFields

CATALOG: Final = "catalog"
ATTACHMENTS: Final = ("audio", "features", "start", "end", "clip")
"""Fields of a body that name a file."""
COLUMNS: Final = frozenset({"custom_id", *ATTACHMENTS, *GenerateFields.model_fields})
"""Columns that a table may have."""
MAX_LINE_BYTES: Final = 1 << 20
"""Longest line of a catalog, and longest record of a table."""
KINDS: Final = "a .jsonl, .csv or .parquet file, a folder of songs, a glob of songs, or a song"


@dataclass(frozen=True)
class CatalogRow:
    """One item of a catalog.

    Attributes:
        index: its place in the catalog, from 0.
        line: its line in the file, or its place from 1 where there are no lines.
        body: fields of the request as they are in the catalog; `audio`, `features` and `start` are names of files.
        fault: what is wrong with the item alone, found while it was read; it fails without being tried.
    """

    index: int
    line: int
    custom_id: str
    body: dict[str, Any]
    fault: InvalidInput | None = None


class Catalog(Protocol):
    """Rows in order.

    Attributes:
        base: address of the folder that songs are relative to.
        follows_links: whether a song below `base` may be a link that leads out of it: where the user names the songs
            themselves rather than a file that names them.
    """

    base: str
    follows_links: bool

    def rows(self) -> Iterator[CatalogRow]:
        """All items.

        Raises:
            InvalidInput: the catalog itself is broken; the field is the line and, where there is one, the column.
            OSError: it cannot be read.
        """
        ...

    def digest(self) -> str:
        """SHA-256 (hex) of everything that the rows depend on."""
        ...


def at_line(line: int, field: str = "") -> str:
    """The field of an error that a line of the catalog has."""
    return f"{CATALOG} line {line}{', ' if field else ''}{field}"


def open_catalog(address: str) -> Catalog:
    """The catalog at a path or an fsspec address; nothing of it is read yet.

    Raises:
        InvalidInput: there is none, or it is of no kind that is known.
        MissingDependency: the address needs a package that is not installed.
    """
    from serving.batch.jsonl import JsonlCatalog
    from serving.batch.songs import SONG_SUFFIXES, SongCatalog
    from serving.batch.tables import CsvCatalog, ParquetCatalog

    system, path = open_filesystem(str(local_path(address).absolute()) if is_local(address) else address, CATALOG)
    suffix = f".{path.rpartition('.')[2].lower()}" if "." in path.rpartition("/")[2] else ""
    kinds: dict[str, type[JsonlCatalog | CsvCatalog | ParquetCatalog]] = {
        ".jsonl": JsonlCatalog,
        ".ndjson": JsonlCatalog,
        ".csv": CsvCatalog,
        ".parquet": ParquetCatalog,
    }
    if system.isdir(path):
        return SongCatalog.of_folder(system, path)
    if not system.isfile(path):
        if any(sign in path for sign in "*?["):
            return SongCatalog.of_glob(system, path)
        raise InvalidInput(CATALOG, f"{address} does not exist")
    if suffix in kinds:
        return kinds[suffix](system, path)
    if suffix in SONG_SUFFIXES:
        return SongCatalog(system, path.rpartition("/")[0], [path])
    raise InvalidInput(CATALOG, f"must be {KINDS}, got {address[:200]!r}")


def base_of(system: Any, path: str) -> str:
    """Address of the folder that a file is in."""
    return folder_address(system, path.rpartition("/")[0] or "/")


def folder_address(system: Any, path: str) -> str:
    """Address of a folder; of this machine, its path."""
    protocols = (system.protocol,) if isinstance(system.protocol, str) else system.protocol
    return path if "file" in protocols else str(system.unstrip_protocol(path))


def sha256_of(system: Any, path: str) -> str:
    """SHA-256 (hex) of a file, read in pieces."""
    import hashlib

    with system.open(path, "rb") as file:
        digest = hashlib.sha256()
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
