"""The user's own character on the command line: `--rig` and `--map`."""

from pathlib import Path
from typing import Any

from choreo.errors import InvalidInput
from choreo.files import atomic_write
from choreo.motion.clip import Motion
from choreo.motion.performance import Performance
from choreo.rigs.animate import Character, read_character
from choreo.rigs.joint_map import GivenMap
from choreo.rigs.map_file import read_map


def given_character(rig: Path | None, mapping: Path | None) -> Character | None:
    """The character that was asked for; None without one.

    Raises:
        InvalidInput: a file is unusable, or there is a map without a rig; the field is `rig` or `map`.
        MissingDependency: see `read_map`.
    """
    if rig is None:
        if mapping is not None:
            raise InvalidInput("map", "says which joint of a rig is which; give the rig, too")
        return None
    return read_character(rig, GivenMap() if mapping is None else read_map(mapping))


def write_own_rig(character: Character | None, dance: Motion | Performance, folder: Path) -> list[str]:
    """Write the character's file with the dance in it to `rig.glb` or the like; returns the names of files.

    Raises:
        InvalidInput: see `Character.dancing`.
        OSError: it cannot be written.
    """
    if character is None:
        return []
    name = f"rig{character.suffix}"
    atomic_write(folder / name, character.dancing(Performance.of(dance)))
    return [name]


def with_own_rig(document: dict[str, Any], character: Character | None, files: list[Path]) -> dict[str, Any]:
    """The JSON document of a dance, with the files of the character and what was taken for what in it."""
    if character is None:
        return document
    more = {"files": [*document["files"], *map(str, files)], "notes": [*document["notes"], *character.notes]}
    return document | more | character_document(character)


def character_document(character: Character) -> dict[str, Any]:
    """What is told of it: scale, and which joint was taken for what."""
    return {"rig_scale": round(character.scale, 6), "mapping": character.mapping}
