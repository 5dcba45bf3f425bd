"""The formats that motion is written in, one row each, and one way to write any of them.

A new format is a module with a function from a performance to bytes, and a row here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from choreo.errors import InvalidInput
from choreo.files import replacing
from choreo.motion.clip import Motion
from choreo.motion.formats.amass import amass_bytes
from choreo.motion.formats.bvh import bvh_bytes
from choreo.motion.formats.csv_format import csv_bytes
from choreo.motion.formats.fbx import fbx_bytes
from choreo.motion.formats.glb import glb_bytes
from choreo.motion.formats.json_format import json_bytes
from choreo.motion.formats.mp4 import film_bytes
from choreo.motion.formats.npz import npz_bytes
from choreo.motion.formats.sound import Sound
from choreo.motion.formats.view import Film, View
from choreo.motion.formats.vrma import vrma_bytes
from choreo.motion.performance import Performance

Encode = Callable[[Motion | Performance, Sound | None, str, View | Film], bytes]


@dataclass(frozen=True, eq=False)
class Format:
    """A file format. There is one object per format, which pickle restores by name.

    Attributes:
        name: in requests and on the command line.
        media_type: value of the Content-Type header.
        suffix: of file names, with its dot; no two formats have the same.
        needs_audio: whether the song becomes part of the file; if not, no sound need be passed.
        encode: the file's bytes of (performance, sound, title, view).
        needs_blender: whether the user's own Blender writes it, in seconds rather than milliseconds.
    """

    name: str
    media_type: str
    suffix: str
    needs_audio: bool
    encode: Encode
    needs_blender: bool = False

    JSON: ClassVar["Format"]
    NPZ: ClassVar["Format"]
    BVH: ClassVar["Format"]
    MP4: ClassVar["Format"]
    GLB: ClassVar["Format"]
    AMASS: ClassVar["Format"]
    CSV: ClassVar["Format"]
    VRMA: ClassVar["Format"]
    FBX: ClassVar["Format"]

    def __reduce__(self) -> tuple[Callable[[str], "Format"], tuple[str]]:
        return format_named, (self.name,)

    def __str__(self) -> str:
        return self.name

    @classmethod
    def named(cls, name: str, field: str = "format") -> "Format":
        """`format_named`, for callers that have only the class."""
        return format_named(name, field)


def _silent(encode: Callable[[Motion | Performance], bytes]) -> Encode:
    """An encoder that makes no use of sound, title and view."""
    return lambda dance, sound, title, view: encode(dance)


FORMATS: Final = (
    Format("json", "application/json", ".json", False, _silent(json_bytes)),
    Format("npz", "application/x-npz", ".npz", False, _silent(npz_bytes)),
    Format("bvh", "application/x-bvh", ".bvh", False, _silent(bvh_bytes)),
    Format("mp4", "video/mp4", ".mp4", True, film_bytes),
    Format("glb", "model/gltf-binary", ".glb", False, _silent(glb_bytes)),
    Format("amass", "application/x-amass-npz", ".amass.npz", False, _silent(amass_bytes)),
    Format("csv", "text/csv", ".csv", False, _silent(csv_bytes)),
    Format("vrma", "model/x-vrma", ".vrma", False, _silent(vrma_bytes)),
    Format("fbx", "application/x-fbx", ".fbx", False, _silent(fbx_bytes), needs_blender=True),
)
"""All formats, in the order in which they are listed to users."""
Format.JSON, Format.NPZ, Format.BVH, Format.MP4, Format.GLB, Format.AMASS, Format.CSV, Format.VRMA, Format.FBX = FORMATS
FORMAT_NAMES: Final = ", ".join(fmt.name for fmt in FORMATS)
"""What users are told that there is."""


def format_named(name: str, field: str = "format") -> Format:
    """The format of a name in any case, with or without a dot.

    Raises:
        InvalidInput: there is none; the error's field is `field`.
    """
    wanted = name.strip().lower().removeprefix(".")
    for known in FORMATS:
        if known.name == wanted:
            return known
    raise InvalidInput(field, f"must be one of {FORMAT_NAMES}, got {name[:32]!r}")


def format_of_file(name: str, field: str = "out") -> Format:
    """The format that a file name ends with; `dance.amass.npz` is AMASS, and any other `.npz` is not.

    Raises:
        InvalidInput: it ends with none; the error's field is `field`.
    """
    fitting = [fmt for fmt in FORMATS if name.lower().endswith(fmt.suffix)]
    if not fitting:
        suffixes = ", ".join(fmt.suffix for fmt in FORMATS)
        raise InvalidInput(field, f"must end with one of {suffixes}, got {name[-32:]!r}")
    return max(fitting, key=lambda fmt: len(fmt.suffix))


def encode(
    dance: Motion | Performance,
    fmt: Format,
    sound: Sound | None = None,
    title: str = "",
    view: View | Film = View.FOLLOW,
) -> bytes:
    """The bytes of a performance in a format. Only formats that need audio make use of `sound`, `title` and `view`.

    Raises:
        ChoreoError: as the function of the format does.
    """
    return fmt.encode(dance, sound, title, view)


def write(
    dance: Motion | Performance,
    fmt: Format,
    path: Path,
    sound: Sound | None = None,
    title: str = "",
    view: View | Film = View.FOLLOW,
) -> None:
    """Write a performance to `path` in a format, whole or not at all.

    Raises:
        ChoreoError: as the function of the format does.
        OSError: `path` cannot be written.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(encode(dance, fmt, sound, title, view))
