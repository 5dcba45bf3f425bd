"""What a library is built from: the data pack, a folder of motion files with what lies beside them, or one file."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from choreo.data.layouts.packs import GENRES, METERS, DataPack, family_of
from choreo.errors import InvalidInput
from choreo.motion.clip import Motion
from retrieval.building.extraction import PhraseSource, Recording, Remark
from retrieval.building.motion_files import find_motion, motion_file
from retrieval.building.sidecars import Tags, check_tag, read_table


@dataclass(frozen=True)
class Sources:
    """Recordings to read, and what was found and will not be."""

    recordings: list[Recording]
    skipped: list[Remark] = field(default_factory=list)


def open_sources(path: Path, licence: str = "", genre: str = "") -> Sources:
    """Find the recordings at a path; nothing of them is read yet.

    Args:
        path: a data pack (`choreo.data.layouts.packs`), a folder that is searched to its depths, or a motion file.
        licence, genre: of recordings that do not say.
    Raises:
        InvalidInput: there is nothing there, a tag is no tag, or the table of a folder or pack is broken.
    """
    tags = Tags(licence=check_tag(licence, "licence"), genre=check_tag(genre, "genre"))
    try:
        is_folder = path.is_dir()
        if not is_folder and not path.exists():
            raise InvalidInput("source", f"there is nothing at {path}")
    except (OSError, ValueError) as error:
        if isinstance(error, InvalidInput):
            raise
        raise InvalidInput("source", f"cannot be read: {error}") from error
    if is_folder and DataPack.recognised(path):
        return Sources(_pack_recordings(path))
    root = path if is_folder else path.parent
    table = read_table(root)
    found, skipped = find_motion(path) if is_folder else ([path.name], [])
    unused = sorted(set(table) - set(found)) if is_folder else []
    skipped += [Remark(name, "phrases.csv names it, but it is no motion file here") for name in unused]
    return Sources([motion_file(root, name, table.get(name, tags).over(tags)) for name in found], skipped)


def _pack_recordings(root: Path) -> list[Recording]:
    pack = DataPack(root)
    files = [(file.name, (stat := file.stat()).st_size, stat.st_mtime_ns) for file in pack.files]

    def loader(key: str) -> Callable[[], PhraseSource]:
        return lambda: _pack_source(pack, key)

    return [Recording(key, json.dumps([key, files]), loader(key)) for key in pack.keys]


def _pack_source(pack: DataPack, key: str) -> PhraseSource:
    recording = pack.recording(key)
    family = family_of(key)
    return PhraseSource(
        Motion(recording.positions.astype("float32")),
        genre=GENRES.get(family, ""),
        beats=recording.beats,
        source=key,
        licence=recording.licence,
        music=recording.music,
        meter=METERS.get(family, 4),
        captions=recording.captions,
    )
