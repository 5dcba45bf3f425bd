"""Classifier-free guidance (Ho & Salimans 2022), always on predicted x0."""

import numpy as np
from numpy.typing import NDArray


def guide(
    conditional: NDArray[np.floating], unconditional: NDArray[np.floating], guidance_scale: NDArray[np.floating] | float
) -> NDArray[np.floating]:
    """u + w (c - u) with one scale per row: w = 1 is the conditional prediction, w = 0 the unconditional one."""
    w = np.asarray(guidance_scale, conditional.dtype).reshape(-1, *([1] * (conditional.ndim - 1)))
    return unconditional + w * (conditional - unconditional)
