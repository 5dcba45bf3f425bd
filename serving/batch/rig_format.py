"""A character that every item of a run dances: one more format, which only this run has."""

from collections.abc import Sequence
from typing import Final

from choreo.motion.clip import Motion
from choreo.motion.formats.formats import Format
from choreo.motion.formats.sound import Sound
from choreo.motion.formats.view import Film, View
from choreo.motion.performance import Performance
from choreo.rigs.animate import Character

RIG: Final = "rig"
"""Its name in the rows of results."""
_MEDIA_TYPES: Final = {".bvh": Format.BVH.media_type}


def with_rig(formats: Sequence[Format], character: Character | None) -> tuple[Format, ...]:
    """The formats of an item, and that of the character; files of the latter end with `.rig.glb` or the like."""
    if character is None:
        return tuple(formats)

    def encode(dance: Motion | Performance, sound: Sound | None, title: str, view: View | Film) -> bytes:
        return character.dancing(Performance.of(dance))

    media_type = _MEDIA_TYPES.get(character.suffix, Format.GLB.media_type)
    return (*formats, Format(RIG, media_type, f".rig{character.suffix}", False, encode))
