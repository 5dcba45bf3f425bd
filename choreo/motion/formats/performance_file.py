"""Reading a motion file of one or more dancers as it is: its rate, its length, its rotations and its metadata."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from choreo.errors import InvalidInput
from choreo.motion.clip import Motion
from choreo.motion.formats import bvh, gltf_motion, json_format, npz
from choreo.motion.formats.motion_file import check_file
from choreo.motion.formats.npz import NpzArchive
from choreo.motion.formats.smpl_npz import is_smpl, read_smpl_dancers
from choreo.motion.performance import Performance
from choreo.motion.skeleton import PELVIS
from choreo.motion.upright import AUTO, Upright, find_up


@dataclass(frozen=True)
class PerformanceFile:
    """A performance as it was read, y up, and notes on what was guessed, estimated or turned."""

    performance: Performance
    notes: tuple[str, ...] = ()


def read_performance_file(path: Path, field: str = "motion", up: str = AUTO) -> PerformanceFile:
    """Read a file by its suffix, which is one of `motion_file.SUFFIXES`.

    Args:
        path: a regular file.
        field: name of the offending field in errors.
        up: the axis that points up, see `upright.find_up`.

    Raises:
        InvalidInput: another suffix, not motion, or no such axis.
        OSError: it cannot be read.
    """
    check_file(path, field)
    return _READERS[path.suffix.lower()](path, field, up)


def _npz(path: Path, field: str, up: str) -> PerformanceFile:
    archive = NpzArchive(path, field)
    if "positions" in archive or not is_smpl(archive):
        return _upright(npz.read_performance(path, field), up, "y", "y")
    found, names = read_smpl_dancers(archive, field)
    dancers = tuple(
        Motion(smpl.positions.astype(np.float32), smpl.fps, smpl.rotations.astype(np.float32)) for smpl in found
    )
    convention = found[0].convention
    rest = convention if found[0].certain else None
    return _upright(Performance(dancers, _meta(archive), names), up, convention, rest)


def _meta(archive: NpzArchive) -> dict[str, Any]:
    """Metadata of an archive that may come from elsewhere, where a member of that name may be anything."""
    try:
        return archive.meta()
    except InvalidInput:
        return {}


def _json(path: Path, field: str, up: str) -> PerformanceFile:
    return _upright(json_format.read_performance(path, field), up, "y", "y")


def _bvh(path: Path, field: str, up: str) -> PerformanceFile:
    performance = bvh.read_performance(path, field, fps=None, up=up)  # turns it: the rest pose is seen there
    return PerformanceFile(performance, tuple(performance.meta.get("notes", ())))


def _gltf(path: Path, field: str, up: str) -> PerformanceFile:
    performance = gltf_motion.read_performance(path, field)
    read = _upright(performance, up, "y", "y")
    return PerformanceFile(read.performance, (*performance.meta.get("notes", ()), *read.notes))


_READERS: Final[dict[str, Callable[[Path, str, str], PerformanceFile]]] = {
    ".npz": _npz,
    ".json": _json,
    ".bvh": _bvh,
    ".glb": _gltf,
    ".vrma": _gltf,
}


def _upright(performance: Performance, up: str, convention: str, rest: str | None) -> PerformanceFile:
    way_up = find_up([dancer.positions for dancer in performance.dancers], up, convention=convention, rest=rest)
    dancers = tuple(_turned(dancer, way_up) for dancer in performance.dancers)
    return PerformanceFile(replace(performance, dancers=dancers), (way_up.note,) if way_up.note else ())


def _turned(dancer: Motion, way_up: Upright) -> Motion:
    if way_up.axis == "y":
        return dancer
    rotations = dancer.rotations
    if rotations is not None:
        rotations = rotations.copy()
        rotations[:, PELVIS] = way_up.rotation @ rotations[:, PELVIS]
    return replace(dancer, positions=way_up.turned(dancer.positions).astype(np.float32), rotations=rotations)
