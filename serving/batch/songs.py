"""Catalogs that are songs themselves: a folder, a glob or one file."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final, Self

from choreo.errors import InvalidInput
from serving.batch.catalog import CATALOG, CatalogRow, folder_address
from serving.batch.names import checked_id

SONG_SUFFIXES: Final = (
    ".wav", ".flac", ".ogg", ".oga", ".mp3", ".aiff", ".aif", ".m4a", ".aac", ".opus", ".webm", ".wma",
)  # fmt: skip
"""Of the files that are taken for songs; others in a folder are passed over."""


class SongCatalog:
    """Songs in the order of their names.

    An item's id is the song's path without its suffix, or with it where two songs differ in nothing else. The names of
    all songs are held in memory.

    Args:
        system: fsspec file system.
        base: folder that paths of songs are relative to.
        paths: songs, below `base`.
    """

    follows_links = True

    def __init__(self, system: Any, base: str, paths: Sequence[str]) -> None:
        self._system, self._root = system, base.rstrip("/")
        self.base = folder_address(system, base or "/")
        self._names = sorted(path.removeprefix(f"{self._root}/") for path in paths)

    @classmethod
    def of_folder(cls, system: Any, path: str) -> Self:
        """All songs in a folder and below it.

        Raises:
            InvalidInput: there is none.
        """
        return cls._of(system, path, system.find(path), f"{path} holds no song")

    @classmethod
    def of_glob(cls, system: Any, pattern: str) -> Self:
        """The songs that a pattern fits.

        Raises:
            InvalidInput: it fits none.
        """
        plain = pattern[: min(pattern.index(sign) for sign in "*?[" if sign in pattern)]
        return cls._of(system, plain.rpartition("/")[0], system.glob(pattern), f"no song fits {pattern}")

    @classmethod
    def _of(cls, system: Any, base: str, found: Sequence[str], message: str) -> Self:
        songs = [path for path in found if path.lower().endswith(SONG_SUFFIXES)]
        if not songs:
            raise InvalidInput(CATALOG, f"{message}; songs end with {', '.join(SONG_SUFFIXES)}")
        return cls(system, base, songs)

    def rows(self) -> Iterator[CatalogRow]:
        """All items; see `Catalog.rows`."""
        shared = Counter(name.rpartition(".")[0] for name in self._names)
        for index, name in enumerate(self._names):
            stem = name.rpartition(".")[0]
            custom_id = checked_id(name if shared[stem] > 1 or not stem else stem, f"{CATALOG} song {name[:64]!r}")
            yield CatalogRow(index, index + 1, custom_id, {"audio": name})

    def digest(self) -> str:
        """SHA-256 (hex) of the names and sizes of all songs."""
        digest = hashlib.sha256()
        for name in self._names:
            size = self._system.size(f"{self._root}/{name}")
            digest.update(f"{name}\0{size}\n".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()
