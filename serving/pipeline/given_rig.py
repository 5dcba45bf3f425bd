"""The user's own character that comes with a request, from untrusted bytes."""

from typing import Final

from choreo.errors import InvalidInput
from choreo.motion.formats.formats import Format
from choreo.rigs.animate import character_of

MAX_RIG_BYTES: Final = 48 << 20
"""Largest file; meshes and images of a character are most of it."""
MAX_TEXT_BYTES: Final = 4 << 20
"""Largest JSON of a GLB, and largest BVH: both are parsed where other requests wait meanwhile."""
_GLB, _JSON_AT = b"glTF", 12


def rig_format(rig: bytes, wanted: str | None, field: str = "rig") -> Format:
    """The format of the answer to a request with a character: that of its file.

    Args:
        rig: the file.
        wanted: the format that the request names, if it names one.
        field: name of the part in errors.

    Raises:
        InvalidInput: too large, neither GLB nor BVH, joints that are not found, or another format is wanted.
    """
    fmt = Format.GLB if rig[:4] == _GLB else Format.BVH
    if fmt is Format.BVH and not rig[:64].lstrip(b"\xef\xbb\xbf \t\r\n").upper().startswith(b"HIERARCHY"):
        raise InvalidInput(field, "must be a .glb, .vrm or .bvh file")
    if len(rig) > MAX_RIG_BYTES:
        raise InvalidInput(field, f"is larger than {MAX_RIG_BYTES >> 20} MiB")
    text = int.from_bytes(rig[_JSON_AT : _JSON_AT + 4], "little") if fmt is Format.GLB else len(rig)
    if text > MAX_TEXT_BYTES:
        what = "JSON" if fmt is Format.GLB else "text"
        raise InvalidInput(field, f"has more than {MAX_TEXT_BYTES >> 20} MiB of {what}")
    if wanted is not None and Format.named(wanted) is not fmt:
        raise InvalidInput("format", f"is {fmt} with this rig, whose own file is the answer; leave it out")
    character_of(rig, fmt.suffix, field=field)
    return fmt
