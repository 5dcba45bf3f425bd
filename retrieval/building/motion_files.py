"""Finding the motion files of a folder, and reading one with its sidecar files."""

import json
import os
import stat
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from choreo.data.clip import Caption
from choreo.errors import InvalidInput
from choreo.motion.clip import Motion
from choreo.motion.formats.bvh import read_bvh
from choreo.motion.formats.json_format import read_json
from choreo.motion.formats.npz import read_npz
from choreo.motion.skeleton import FPS
from retrieval.building.extraction import PhraseSource, Recording, Remark
from retrieval.building.sidecars import AUDIO, META, Tags, read_captions, read_meta, read_song

READERS: Final = {".npz": read_npz, ".json": read_json, ".bvh": read_bvh}
"""By suffix; of several files with the same name, the first suffix is read."""
MAX_FILES: Final = 1_000_000
MAX_DEPTH: Final = 64
_SIDECARS: Final = (META, ".txt", *AUDIO)


def find_motion(root: Path) -> tuple[list[str], list[Remark]]:
    """Motion files below a folder as sorted relative paths, and what was skipped and why.

    Links to folders are not followed, so there are no loops; hidden files and folders are skipped.

    Raises:
        InvalidInput: more than a million files.
    """
    names: list[str] = []
    skipped: list[Remark] = []
    for name, reason in _entries(root, "", 0):
        if reason:
            skipped.append(Remark(printable(name), reason))
        else:
            names.append(name)
        if len(names) + len(skipped) > MAX_FILES:
            raise InvalidInput("source", f"holds more than {MAX_FILES} files")
    order = list(READERS)
    first: dict[str, str] = {}
    for name in sorted(names, key=lambda name: (order.index(_suffix(name)), name)):
        stem = name[: -len(_suffix(name))]
        if stem in first:
            skipped.append(Remark(printable(name), f"{printable(first[stem])} is read instead"))
        first.setdefault(stem, name)
    return sorted(first.values()), skipped


def _entries(folder: Path, prefix: str, depth: int) -> Iterator[tuple[str, str]]:
    """(path, "") for each motion file, and (path, reason) for what is skipped."""
    if depth > MAX_DEPTH:
        yield prefix, f"lies more than {MAX_DEPTH} folders deep"
        return
    try:
        with os.scandir(folder) as scan:
            entries = sorted(scan, key=lambda entry: entry.name)
    except OSError as error:
        yield prefix or ".", f"cannot be read: {error.strerror}"
        return
    for entry in entries:
        name = f"{prefix}{entry.name}"
        if entry.is_dir(follow_symlinks=False):
            if entry.name.startswith("."):
                yield name, "is hidden"
            else:
                yield from _entries(folder / entry.name, f"{name}/", depth + 1)
        elif entry.is_symlink() and entry.is_dir():
            yield name, "is a link to a folder"
        elif _suffix(name) in READERS and not name.lower().endswith(META):
            yield name, "is hidden" if entry.name.startswith(".") else _unreadable(entry)


def _unreadable(entry: os.DirEntry[str]) -> str:
    """Why a file cannot be read, or nothing."""
    try:
        # Opening a pipe would block until somebody writes to it.
        return "" if stat.S_ISREG(entry.stat().st_mode) else "is not a regular file"
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def motion_file(root: Path, name: str, tags: Tags) -> Recording:
    """The recording in a motion file `name` below `root`; `tags` complete its own metadata."""
    path = root / name
    base = path.parent / path.name[: -len(_suffix(name)) or None]
    files = [path, *(base.parent / (base.name + suffix) for suffix in _SIDECARS)]
    identity = json.dumps([name, [_identity(file) for file in files], asdict(tags)])
    return Recording(printable(name), identity, partial(_load, path, base, printable(name), tags))


def _load(path: Path, base: Path, name: str, tags: Tags) -> PhraseSource:
    motion = _motion(path)
    notes: list[str] = []
    meta = read_meta(base.parent / (base.name + META), motion.seconds, notes)
    sentences = read_captions(base.parent / (base.name + ".txt"), notes)
    tags = meta.tags.over(tags)
    if meta.tags.caption or not sentences:
        sentences = [tags.caption] if tags.caption else []
    song = read_song(base, meta.audio_offset, notes)
    frames = int(np.ceil(motion.seconds * FPS)) + 1
    return PhraseSource(
        motion,
        genre=tags.genre,
        style=tags.style,
        licence=tags.licence,
        beats=song.beats if meta.beats is None else meta.beats,
        source=name,
        music=song.features,
        captions=[Caption(sentence, 0, frames) for sentence in sentences],
        notes=notes,
    )


def _motion(path: Path) -> Motion:
    reader = READERS.get(_suffix(path.name))
    if reader is None:
        raise InvalidInput("motion", f"must be one of {', '.join(READERS)}")
    if not stat.S_ISREG(path.stat().st_mode):
        raise InvalidInput("motion", "is not a regular file")
    return reader(path)


def _identity(path: Path) -> list[int] | None:
    """Numbers that change when a file does; None without a file."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return [status.st_size, status.st_mtime_ns, status.st_ino, status.st_dev]


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def printable(name: str) -> str:
    """A file name with a question mark for every character that is not printable Unicode."""
    return "".join(c if c.isprintable() else "?" for c in name.encode("utf-8", "replace").decode())
