"""Music features and starting motions as the file parts that a server takes."""

import io
from os import PathLike
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from choreo.client.uploads import Upload, of_bytes, upload
from choreo.errors import InvalidInput
from choreo.motion.clip import Motion

Features = str | PathLike[str] | bytes | NDArray[Any]
"""Path or bytes of an .npy file, or an array (T, 35) or (T, 4800) at 30 fps."""
Start = str | PathLike[str] | bytes | Motion
"""Path of a motion file (npz, json, bvh), or a motion; or the bytes of an .npz, which are sent as they are."""

AUTO: Final = "auto"
UPRIGHT: Final = "y"
"""The axis that points up in a start that is sent, whatever it was before; bytes are not read here."""


def features_upload(features: Features, part: str = "features", field: str = "features") -> Upload:
    """Music features as an .npy.

    Args:
        part: name of the part.
        field: name in errors.

    Raises:
        InvalidInput: a file cannot be read, or these are no numbers.
    """
    if isinstance(features, str | PathLike | bytes):
        return upload(features, part, field)
    buffer = io.BytesIO()
    try:
        np.save(buffer, np.asarray(features, np.float32), allow_pickle=False)
    except (TypeError, ValueError) as error:
        raise InvalidInput(field, "must be a path or an array of numbers") from error
    return of_bytes(buffer.getvalue(), part, "features.npy", field)


def start_upload(
    start: Start, up: str = AUTO, part: str = "start", field: str = "start"
) -> tuple[Upload, tuple[str, ...]]:
    """A motion as an .npz with y up, and notes on what was done to it. Bytes stay as they are.

    Args:
        up: the axis that points up in it: auto, y, z, -y and so on.
        part: name of the part.
        field: name in errors.

    Raises:
        InvalidInput: a file cannot be read, holds no motion, or there is no such axis.
    """
    if isinstance(start, bytes):
        return of_bytes(start, part, "start.npz", field), ()
    from choreo.motion.formats.motion_file import read_start, upright_motion
    from choreo.motion.formats.npz import npz_bytes
    from choreo.motion.upright import check_up

    up = check_up(up)
    try:
        read = upright_motion(start, up) if isinstance(start, Motion) else read_start(Path(start), field, up)
    except TypeError as error:
        raise InvalidInput(field, f"must be a path or a Motion, got {type(start).__name__}") from error
    except OSError as error:
        raise InvalidInput(field, f"cannot be read: {error.strerror or error}") from error
    bare = Motion(read.motion.positions, read.motion.fps, read.motion.rotations)
    return of_bytes(npz_bytes(bare), part, "start.npz"), tuple(f"{part} {note}" for note in read.notes)
