"""The formats motion leaves the program in, and one way to write any of them."""

import tempfile
from enum import StrEnum
from pathlib import Path
from typing import Final

from choreo.errors import InvalidInput
from choreo.files import atomic_write
from choreo.motion.clip import Motion
from choreo.motion.formats.bvh import bvh_text
from choreo.motion.formats.json_format import json_bytes
from choreo.motion.formats.npz import npz_bytes


class Format(StrEnum):
    """File formats of motion; the value is the name in requests and, with a dot, the file suffix."""

    JSON = "json"
    NPZ = "npz"
    BVH = "bvh"
    MP4 = "mp4"

    @property
    def media_type(self) -> str:
        """Value of the Content-Type header."""
        return _MEDIA_TYPES[self]

    @property
    def suffix(self) -> str:
        """File suffix with its dot."""
        return f".{self.value}"

    @classmethod
    def named(cls, name: str, field: str = "format") -> "Format":
        """Format of that name in any case, with or without a dot.

        Raises:
            InvalidInput: there is none.
        """
        try:
            return cls(name.strip().lower().removeprefix("."))
        except ValueError as error:
            raise InvalidInput(field, f"must be one of {', '.join(cls)}, got {name[:32]!r}") from error


_MEDIA_TYPES: Final = {
    Format.JSON: "application/json",
    Format.NPZ: "application/x-npz",
    Format.BVH: "application/x-bvh",
    Format.MP4: "video/mp4",
}


def encode(motion: Motion, fmt: Format, audio: Path | None = None, title: str = "") -> bytes:
    """The bytes of a motion in a format. Only MP4 has a use for `audio` and `title`.

    Raises:
        ChoreoError: see the format's own module.
    """
    match fmt:
        case Format.JSON:
            return json_bytes(motion)
        case Format.NPZ:
            return npz_bytes(motion)
        case Format.BVH:
            return bvh_text(motion).encode("ascii")
        case Format.MP4:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "preview.mp4"  # a file first: the index at the front needs a second pass
                write(motion, fmt, path, audio, title)
                return path.read_bytes()


def write(motion: Motion, fmt: Format, path: Path, audio: Path | None = None, title: str = "") -> None:
    """Write a motion to `path` in a format, whole or not at all.

    Raises:
        ChoreoError: see the format's own module.
        OSError: `path` cannot be written.
    """
    if fmt is Format.MP4:
        from choreo.motion.formats.mp4 import write_preview  # drawing and video are loaded only by those who draw

        write_preview(motion, path, audio, title)
    else:
        atomic_write(path, encode(motion, fmt))
