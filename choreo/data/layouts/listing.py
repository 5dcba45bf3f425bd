"""Listing a data set's folder: regular files, and the lists of names in which splits are published."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

MAX_CHARS: Final = 2**24


def regular_files(folder: Path, pattern: str) -> list[Path]:
    """Files that match a glob pattern, sorted; never pipes or devices, which may block a reader for ever."""
    return sorted(path for path in folder.glob(pattern) if path.is_file())


def read_names(path: Path) -> list[str]:
    """Names of a text file, one a line, in order and without blank lines; none where there is no such file.

    Raises:
        OSError: it cannot be read.
    """
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", errors="replace") as file:
        return [line.strip() for line in file.read(MAX_CHARS).splitlines() if line.strip()]


def published_parts(files: Mapping[str, Path], keys: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Part of the split to the keys that its file lists, in that order; empty unless every part has a file."""
    if not all(path.is_file() for path in files.values()):
        return {}
    known = set(keys)
    return {part: tuple(n for n in dict.fromkeys(read_names(path)) if n in known) for part, path in files.items()}
