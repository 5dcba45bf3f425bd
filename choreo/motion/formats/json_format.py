"""Motion as a JSON document."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from choreo.errors import InvalidInput, NonFiniteOutput
from choreo.files import atomic_write
from choreo.motion.clip import Motion

MAX_FILE_BYTES = 256 * 2**20
"""Largest document that is read; an hour of motion has about 50 MiB."""
DECIMALS = 4
"""Decimals of a coordinate: a tenth of a millimetre."""
MAX_DEPTH = 32
"""Levels of nesting that metadata may have; what lies deeper becomes a string."""


def motion_document(motion: Motion) -> dict[str, Any]:
    """Plain dictionary with `motion` (T, 22, 3) in metres, `fps`, `num_frames`, `num_joints`, `seed`, `meta`.

    Raises:
        NonFiniteOutput: the positions hold NaN or infinity.
    """
    positions = np.asarray(motion.positions, np.float64)
    if not np.isfinite(positions).all():
        raise NonFiniteOutput("the motion holds NaN or infinite coordinates")
    meta = json_safe(motion.meta)
    fps = float(motion.fps)
    return {
        "motion": (np.round(positions, DECIMALS) + 0.0).tolist(),  # + 0.0 turns -0.0 into 0.0
        "fps": int(fps) if fps.is_integer() else fps,
        "num_frames": motion.num_frames,
        "num_joints": positions.shape[1],
        "seed": meta.get("seed"),
        "meta": meta,
    }


def json_bytes(motion: Motion) -> bytes:
    """`motion_document` as compact UTF-8."""
    document = motion_document(motion)
    return json.dumps(document, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def write_json(motion: Motion, path: Path) -> None:
    """Write `json_bytes` to `path`, whole or not at all."""
    atomic_write(path, json_bytes(motion))


def read_json(source: Path | bytes, field: str = "motion") -> Motion:
    """Read a document of `motion_document` from a path or from its bytes; only `motion` and `fps` are required.

    Raises:
        InvalidInput: not JSON, or not motion.
        OSError: the path cannot be read.
    """
    if isinstance(source, Path):
        with source.open("rb") as file:
            source = file.read(MAX_FILE_BYTES + 1)
    if len(source) > MAX_FILE_BYTES:
        raise InvalidInput(field, f"is larger than {MAX_FILE_BYTES // 2**20} MiB")
    try:
        document = json.loads(source)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(field, "is not JSON") from error
    if not isinstance(document, dict) or "motion" not in document or "fps" not in document:
        raise InvalidInput(field, "must be a JSON object with `motion` and `fps`")
    meta = document.get("meta")
    try:
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite and is refused by `Motion`
            positions = np.asarray(document["motion"], np.float64).astype(np.float32)
        fps = float(document["fps"])
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise InvalidInput(field, "`motion` must be numbers of shape (T, 22, 3) and `fps` a number") from error
    return Motion(positions, fps, meta=meta if isinstance(meta, dict) else {})


def json_safe(value: Any, depth: int = 0) -> Any:
    """Copy of `value` that strict JSON can hold.

    Arrays become lists, tuples and sets become lists, keys become strings, NaN and infinity become null, and objects
    JSON does not know become their text.
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
