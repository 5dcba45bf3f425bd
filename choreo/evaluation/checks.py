"""Validation of the input of metrics: motions, feature sets, and pairs of sets."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from choreo.errors import InvalidInput
from choreo.motion.clip import check_fps, check_positions
from choreo.motion.skeleton import NUM_JOINTS

Array = NDArray[np.float64]


def moving(positions: NDArray[Any], field: str = "positions") -> Array:
    """Check motion of at least two frames.

    Returns:
        Positions (T, 22, 3) as float64.
    Raises:
        InvalidInput: another shape, NaN, infinity, or fewer than two frames.
    """
    check_positions(positions, field)
    if len(positions) < 2:
        raise InvalidInput(field, f"must have at least two frames, got {len(positions)}")
    return np.asarray(positions, np.float64)


def moving_with_hands(positions: NDArray[Any], field: str = "positions") -> Array:
    """Check motion with or without the hands of SMPL-24.

    Returns:
        Positions (T, 22, 3) or (T, 24, 3) as float64.
    Raises:
        InvalidInput: another shape, NaN, infinity, or fewer than two frames.
    """
    if positions.ndim == 3 and positions.shape[1:] == (NUM_JOINTS + 2, 3):
        if not np.isfinite(positions).all():
            raise InvalidInput(field, "holds NaN or infinite coordinates")
        moving(positions[:, :NUM_JOINTS], field)
        return np.asarray(positions, np.float64)
    return moving(positions, field)


def frame_rate(fps: float) -> float:
    """Check a frame rate and return it as float.

    Raises:
        InvalidInput: not between 1 and 1000.
    """
    check_fps(fps)
    return float(fps)


def feature_set(features: NDArray[Any], field: str, smallest: int = 1) -> Array:
    """Check a set of feature vectors.

    Args:
        features: (N, D).
        field: name in errors.
        smallest: least number of rows.
    Returns:
        Features (N, D) as float64.
    Raises:
        InvalidInput: another shape, NaN, infinity, or fewer than `smallest` rows.
    """
    values = np.asarray(features)
    if values.ndim != 2 or not values.shape[1] or values.dtype.kind not in "biuf":
        raise InvalidInput(field, f"must be numbers of shape (N, D), got {values.dtype} {values.shape}")
    if len(values) < smallest:
        raise InvalidInput(field, f"must hold at least {smallest} rows, got {len(values)}")
    if not np.isfinite(values).all():
        raise InvalidInput(field, "holds NaN or infinite numbers")
    return values.astype(np.float64)


def same_width(first: Array, second: Array, field: str) -> None:
    """Check that two feature sets have the same dimension; `field` is the name of the second.

    Raises:
        InvalidInput: the dimensions differ.
    """
    if first.shape[1] != second.shape[1]:
        raise InvalidInput(field, f"must have {first.shape[1]} columns as the other set has, got {second.shape[1]}")


def paired(text: NDArray[Any], motion: NDArray[Any], smallest: int = 1) -> tuple[Array, Array]:
    """Check embeddings of texts and of their motions that are paired row by row.

    Returns:
        Both (N, D) as float64.
    Raises:
        InvalidInput: unusable sets, or different shapes.
    """
    texts = feature_set(text, "text", smallest)
    motions = feature_set(motion, "motion", smallest)
    if texts.shape != motions.shape:
        raise InvalidInput("motion", f"must pair with the texts {texts.shape}, got {motions.shape}")
    return texts, motions
