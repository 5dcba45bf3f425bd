"""Reading a motion file of any format, with all that has to be told from the motion itself."""

import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from choreo.errors import InvalidInput
from choreo.motion.clip import Motion
from choreo.motion.formats import gltf_motion
from choreo.motion.formats.bvh import read_bvh
from choreo.motion.formats.json_format import read_json
from choreo.motion.formats.npz import NpzArchive, read_npz
from choreo.motion.formats.smpl_npz import is_smpl, read_smpl
from choreo.motion.recorded import recorded
from choreo.motion.upright import AUTO, Upright, find_up


@dataclass(frozen=True)
class MotionFile:
    """A motion as it was read.

    Attributes:
        motion: of one dancer, y up, at the file's rate.
        dropped: seconds of a calibration pose that were cut from its start; what belongs to it moves by as much.
        notes: what was guessed, estimated or changed.
    """

    motion: Motion
    dropped: float = 0.0
    notes: tuple[str, ...] = ()


def read_motion(path: Path, field: str = "motion", up: str = AUTO) -> MotionFile:
    """Read a file by its suffix, which is one of `SUFFIXES`; an .npz is an archive of positions or of SMPL poses.

    Args:
        path: a regular file.
        field: name of the offending field in errors.
        up: the axis that points up, see `upright.find_up`.

    Raises:
        InvalidInput: another suffix, not motion of one dancer, or no such axis.
        OSError: it cannot be read.
    """
    raw = _reader(path, field)(path, field, up)
    ready = recorded(raw.motion.positions, raw.motion.fps, raw.up, convention=raw.convention, rest=raw.rest)
    motion = Motion(ready.positions.astype(np.float32), raw.motion.fps, meta=raw.motion.meta)
    return MotionFile(motion, ready.dropped, (*raw.notes, *ready.notes))


def read_start(path: Path, field: str = "start", up: str = AUTO) -> MotionFile:
    """Read a motion to begin with: as `read_motion`, but its first pose is kept, whatever it is.

    Raises:
        InvalidInput: see `read_motion`.
        OSError: it cannot be read.
    """
    raw = _reader(path, field)(path, field, up)
    way_up = find_up([raw.motion.positions], raw.up, convention=raw.convention, rest=raw.rest)
    return _upright(raw.motion, way_up, raw.notes)


def upright_motion(motion: Motion, up: str = AUTO) -> MotionFile:
    """A motion of a format that prescribes y up, turned if it clearly is not; else as it is, rotations included.

    Raises:
        InvalidInput: `up` is no axis.
    """
    return _upright(motion, find_up([motion.positions], up, rest="y"), ())


def _upright(motion: Motion, way_up: Upright, notes: tuple[str, ...]) -> MotionFile:
    if way_up.axis != "y":
        motion = Motion(way_up.turned(motion.positions).astype(np.float32), motion.fps, meta=motion.meta)
    return MotionFile(motion, 0.0, (*notes, way_up.note) if way_up.note else notes)


@dataclass(frozen=True)
class _Raw:
    """A motion in the axes of its file, and what is known of them; see `upright.find_up`."""

    motion: Motion
    up: str
    convention: str = "y"
    rest: str | None = "y"
    notes: tuple[str, ...] = ()


def _npz(path: Path, field: str, up: str) -> _Raw:
    archive = NpzArchive(path, field)
    if "positions" in archive or not is_smpl(archive):
        return _Raw(read_npz(path, field), up)
    posed = read_smpl(archive, field)
    motion = Motion(posed.positions.astype(np.float32), posed.fps, meta={"source": "smpl"})
    return _Raw(motion, up, posed.convention, posed.convention if posed.certain else None)


def _json(path: Path, field: str, up: str) -> _Raw:
    return _Raw(read_json(path, field), up)


def _bvh(path: Path, field: str, up: str) -> _Raw:
    motion = read_bvh(path, field, fps=None, up=up)  # turns it: the rest pose is seen there
    return _Raw(motion, "y", notes=tuple(motion.meta.get("notes", ())))


def _gltf(path: Path, field: str, up: str) -> _Raw:
    motion = gltf_motion.read_performance(path, field).single(field)
    return _Raw(motion, up, notes=tuple(motion.meta.get("notes", ())))


_READERS: Final[dict[str, Callable[[Path, str, str], _Raw]]] = {
    ".npz": _npz,
    ".json": _json,
    ".bvh": _bvh,
    ".glb": _gltf,
    ".vrma": _gltf,
}
SUFFIXES: Final = tuple(_READERS)
"""Of motion files; of several files with the same name, that with the first suffix is read."""


def check_file(path: Path, field: str) -> None:
    """Check that a path is a regular file with one of `SUFFIXES`.

    Raises:
        InvalidInput: it is not.
        OSError: there is nothing.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise InvalidInput(field, "is not a regular file")
    if path.suffix.lower() not in _READERS:
        raise InvalidInput(field, f"must be one of {', '.join(SUFFIXES)}")


def _reader(path: Path, field: str) -> Callable[[Path, str, str], _Raw]:
    check_file(path, field)
    return _READERS[path.suffix.lower()]
