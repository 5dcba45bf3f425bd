"""Finding the recordings of a library: in the data pack, in a folder of motion files, or in one file."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from choreo.data.layouts.packs import GENRES, METERS, DataPack, family_of
from choreo.data.splits.split import TEST
from choreo.errors import InvalidInput
from choreo.motion.clip import Motion
from choreo.motion.upright import AUTO, check_up
from retrieval.building.extraction import PhraseSource, Recording, Remark
from retrieval.building.motion_files import MotionFiles, find_motion
from retrieval.building.sidecars import Tags, check_tag, read_table


@dataclass(frozen=True)
class Sources:
    """Recordings to read, and files that were found but cannot be used."""

    recordings: list[Recording]
    skipped: list[Remark] = field(default_factory=list)


def open_sources(path: Path, licence: str = "", genre: str = "", up: str = AUTO) -> Sources:
    """Find the recordings at a path without reading them.

    Args:
        path: a data pack (`choreo.data.layouts.packs`), a folder that is searched recursively, or a motion file.
        licence, genre: defaults for recordings that have none.
        up: the axis that points up in motion files, see `choreo.motion.upright.find_up`; a data pack's is y.
    Raises:
        InvalidInput: there is nothing there, a tag or axis is malformed, or the table of a folder or pack is broken.
    """
    up = check_up(up)
    tags = Tags(licence=check_tag(licence, "licence"), genre=check_tag(genre, "genre"))
    try:
        is_folder, exists = path.is_dir(), path.exists()
    except (OSError, ValueError) as error:
        raise InvalidInput("source", f"cannot be read: {error}") from error
    if not exists:
        raise InvalidInput("source", f"there is nothing at {path}")
    if is_folder and DataPack.recognised(path):
        if up not in (AUTO, "y"):
            raise InvalidInput("up", f"must be auto or y for a data pack, whose format has y up, got {up}")
        return Sources(_pack_recordings(path))
    root = path if is_folder else path.parent
    table = read_table(root)
    found, skipped = find_motion(path) if is_folder else ([path.name], [])
    unused = sorted(set(table) - set(found)) if is_folder else []
    skipped += [Remark(name, "phrases.csv names it, but it is no motion file here") for name in unused]
    files = MotionFiles(root, up)
    return Sources([files.recording(name, table.get(name, tags).over(tags)) for name in found], skipped)


def _pack_recordings(root: Path) -> list[Recording]:
    pack = DataPack(root)
    files = [(file.name, (stat := file.stat()).st_size, stat.st_mtime_ns) for file in pack.files]

    def loader(key: str) -> Callable[[], PhraseSource]:
        return lambda: _pack_source(pack, key)

    return [Recording(key, json.dumps([key, files]), loader(key)) for key in pack.keys if pack.part_of(key) != TEST]


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
