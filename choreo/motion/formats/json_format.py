"""Motion as a JSON document."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from choreo.errors import InvalidInput, NonFiniteOutput
from choreo.files import atomic_write
from choreo.motion.clip import Motion, check_positions
from choreo.motion.performance import MAX_DANCERS, Performance
from choreo.motion.skeleton import NUM_JOINTS

MAX_FILE_BYTES = 256 * 2**20
"""Largest document that is read; an hour of one dancer is about 50 MiB."""
DECIMALS = 4
"""Decimals of a coordinate: a tenth of a millimetre."""
MAX_DEPTH = 32
"""Maximum nesting of metadata; anything deeper becomes a string."""

_NUMBERS = "`motion` must be numbers of shape (T, 22, 3) and `fps` a number"


def motion_document(dance: Motion | Performance) -> dict[str, Any]:
    """The document as a plain dictionary, coordinates in metres and rounded to DECIMALS.

    A solo has `motion` (T, 22, 3). Several dancers have, in its place, `dancers`: a list of objects with `name` and
    `motion`. Both have `fps`, `num_frames`, `num_joints`, `seed` and `meta`.

    Raises:
        NonFiniteOutput: the positions hold NaN or infinity.
    """
    performance = Performance.of(dance)
    motions = [_coordinates(dancer) for dancer in performance.dancers]
    meta = json_safe(performance.meta)
    fps = float(performance.fps)
    document: dict[str, Any] = {"motion": motions[0]}
    if len(motions) > 1:
        named = zip(performance.names, motions, strict=True)
        document = {"dancers": [{"name": name, "motion": motion} for name, motion in named]}
    return document | {
        "fps": int(fps) if fps.is_integer() else fps,
        "num_frames": performance.num_frames,
        "num_joints": NUM_JOINTS,
        "seed": meta.get("seed"),
        "meta": meta,
    }


def json_bytes(dance: Motion | Performance) -> bytes:
    """`motion_document` as compact UTF-8."""
    document = motion_document(dance)
    return json.dumps(document, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def write_json(dance: Motion | Performance, path: Path) -> None:
    """Write `json_bytes` to `path`, whole or not at all."""
    atomic_write(path, json_bytes(dance))


def read_json(source: Path | bytes, field: str = "motion") -> Motion:
    """Read one dancer's document; only `motion` and `fps` are required.

    Raises:
        InvalidInput: not JSON, not motion, or several dancers.
        OSError: the path cannot be read.
    """
    return read_performance(source, field).single(field)


def read_performance(source: Path | bytes, field: str = "motion") -> Performance:
    """Read a document of `motion_document` from a path or from its bytes; names and metadata may be missing.

    Raises:
        InvalidInput: not JSON, or not motion; the field is `field`, or that of the dancer at fault.
        OSError: the path cannot be read.
    """
    document = _document(source, field)
    meta, fps = document.get("meta"), _fps(document["fps"], field)
    meta = meta if isinstance(meta, dict) else {}
    if "motion" in document:
        return Performance.solo(_motion(document, fps, meta, field))
    entries = document["dancers"]
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InvalidInput(f"{field}.dancers", "must be a list of objects with `name` and `motion`")
    if len(entries) > MAX_DANCERS:
        raise InvalidInput(f"{field}.dancers", f"must be at most {MAX_DANCERS}, got {len(entries)}")
    motions = tuple(_motion(entry, fps, {}, f"{field}.dancers[{i}]") for i, entry in enumerate(entries))
    names = tuple(str(entry["name"]) for entry in entries if "name" in entry)
    try:
        return Performance(motions, meta, names)
    except InvalidInput as error:
        raise InvalidInput(f"{field}.{error.field}", error.message) from error


def _coordinates(motion: Motion) -> list[Any]:
    positions = np.asarray(motion.positions, np.float64)
    if not np.isfinite(positions).all():
        raise NonFiniteOutput("the motion holds NaN or infinite coordinates")
    return (np.round(positions, DECIMALS) + 0.0).tolist()  # + 0.0 turns -0.0 into 0.0


def _document(source: Path | bytes, field: str) -> dict[str, Any]:
    if isinstance(source, Path):
        with source.open("rb") as file:
            source = file.read(MAX_FILE_BYTES + 1)
    if len(source) > MAX_FILE_BYTES:
        raise InvalidInput(field, f"is larger than {MAX_FILE_BYTES // 2**20} MiB")
    try:
        document = json.loads(source)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(field, "is not JSON") from error
    if not isinstance(document, dict) or not {"motion", "dancers"} & set(document) or "fps" not in document:
        raise InvalidInput(field, "must be a JSON object with `motion` or `dancers`, and `fps`")
    return document


def _fps(value: Any, field: str) -> float:
    try:
        return float(value)
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidInput(field, _NUMBERS) from error


def _motion(entry: dict[str, Any], fps: float, meta: dict[str, Any], field: str) -> Motion:
    try:
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite and is refused below
            positions = np.asarray(entry.get("motion"), np.float64).astype(np.float32)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise InvalidInput(field, _NUMBERS) from error
    check_positions(positions, field)
    return Motion(positions, fps, meta=meta)


def json_safe(value: Any, depth: int = 0) -> Any:
    """Copy of `value` that strict JSON can represent.

    Arrays, tuples and sets become lists, keys become strings, NaN and infinity become null, and objects that JSON has
    no type for become their `str`.
    """
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int):
        return value
    if depth < MAX_DEPTH:
        if isinstance(value, dict):
            return {str(key): json_safe(item, depth + 1) for key, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [json_safe(item, depth + 1) for item in value]
    return str(value)
