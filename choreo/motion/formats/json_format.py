"""Motion as a JSON document."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from choreo.errors import NonFiniteOutput
from choreo.motion.clip import Motion
from choreo.motion.formats.atomic import atomic_write

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
