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
from choreo.motion.formats.motion_file import SUFFIXES, read_motion
from choreo.motion.skeleton import FPS
from choreo.motion.upright import AUTO
from choreo.music.song_names import NO_SONGS, SongsOfStem, songs_in
from retrieval.building.extraction import PhraseSource, Recording, Remark
from retrieval.building.sidecars import META, Tags, read_captions, read_meta, read_song

MAX_FILES: Final = 1_000_000
MAX_DEPTH: Final = 64
_SIDECARS: Final = (META, ".txt")


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
    first: dict[str, str] = {}
    for name in sorted(names, key=lambda name: (SUFFIXES.index(_suffix(name)), name)):
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
        elif _suffix(name) in SUFFIXES and not name.lower().endswith(META):
            yield name, "is hidden" if entry.name.startswith(".") else _unreadable(entry)


def _unreadable(entry: os.DirEntry[str]) -> str:
    """Why a file cannot be read, or nothing."""
    try:
        # Opening a pipe would block until somebody writes to it.
        return "" if stat.S_ISREG(entry.stat().st_mode) else "is not a regular file"
    except OSError as error:
        return f"cannot be read: {error.strerror}"


class MotionFiles:
    """Recordings of the motion files below a folder; each folder is searched for songs once."""

    def __init__(self, root: Path, up: str = AUTO) -> None:
        """Args are the folder, and the axis that points up, see `choreo.motion.upright.find_up`."""
        self._root, self._up = root, up
        self._songs: dict[Path, dict[str, SongsOfStem]] = {}

    def recording(self, name: str, tags: Tags) -> Recording:
        """The recording in a motion file `name` below the folder; `tags` complete its own metadata."""
        path = self._root / name
        base = path.parent / path.name[: -len(_suffix(name)) or None]
        if path.parent not in self._songs:
            self._songs[path.parent] = songs_in(path.parent)
        songs = self._songs[path.parent].get(base.name, NO_SONGS)
        files = [path, *(base.parent / (base.name + suffix) for suffix in _SIDECARS)]
        files += [] if songs.song is None else [songs.song]
        identity = json.dumps([name, [_identity(file) for file in files], songs.notes, asdict(tags), self._up])
        return Recording(printable(name), identity, partial(_load, path, base, printable(name), tags, songs, self._up))


def _load(path: Path, base: Path, name: str, tags: Tags, songs: SongsOfStem, up: str) -> PhraseSource:
    read = read_motion(path, "motion", up)
    motion, dropped, notes = read.motion, read.dropped, list(read.notes)
    meta = read_meta(base.parent / (base.name + META), motion.seconds + dropped, notes)
    sentences = read_captions(base.parent / (base.name + ".txt"), notes)
    tags = meta.tags.over(tags)
    if meta.tags.caption or not sentences:
        sentences = [tags.caption] if tags.caption else []
    song = read_song(songs, meta.audio_offset + dropped, notes)
    frames = int(np.ceil(motion.seconds * FPS)) + 1
    return PhraseSource(
        motion,
        genre=tags.genre,
        style=tags.style,
        licence=tags.licence,
        beats=song.beats if meta.beats is None else meta.beats[meta.beats >= dropped] - dropped,
        source=name,
        music=song.features,
        captions=[Caption(sentence, 0, frames) for sentence in sentences],
        notes=[printable(note) for note in notes],
    )


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
