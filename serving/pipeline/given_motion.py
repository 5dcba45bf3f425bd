"""The motions that come with a request: its start, its end, and the clip of its constraints."""

from dataclasses import replace
from pathlib import Path

from choreo.errors import InvalidInput
from choreo.motion.clip import Motion
from choreo.motion.formats.motion_file import read_start, upright_motion
from choreo.motion.formats.npz import read_npz
from choreo.motion.upright import check_up


def given_motion(field: str, source: bytes | Path | None, up: str) -> Motion | None:
    """A motion that stands upright, its first pose kept; `meta["notes"]` says what was done to it.

    Args:
        field: name in errors.
        source: an .npz, or the path of a motion file of any format; None gives None.
        up: the axis that points up.

    Raises:
        InvalidInput: it cannot be read, or there is no such axis.
    """
    up = check_up(up)
    if source is None:
        return None
    if isinstance(source, Path):
        try:
            read = read_start(source, field, up)
        except OSError as error:
            raise InvalidInput(field, f"cannot be read: {error.strerror or error}") from error
    else:
        read = upright_motion(read_npz(source, field=field), up)
    return replace(read.motion, meta=read.motion.meta | {"notes": list(read.notes)})
