"""How far sections that were found agree with those that are known, by the measures of MIREX structural segmentation.

Turnbull et al. 2007 for boundaries, Levy and Sandler 2008 for labels.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

TOLERANCE_S: Final = 0.5
STEP_S: Final = 0.1


def boundary_f_measure(known: ArrayLike, found: ArrayLike, tolerance: float = TOLERANCE_S) -> float:
    """F-measure, 0 to 1, of inner boundaries in seconds (n,) and (m,); each counts once. 1 where neither has any."""
    left = sorted(np.asarray(known, np.float64).ravel())
    there = sorted(np.asarray(found, np.float64).ravel())
    if not left or not there:
        return 1.0 if len(left) == len(there) else 0.0
    total, hits = len(left) + len(there), 0
    for time in there:  # both ascend, so that the earliest one that fits leaves most for the others
        near = next((k for k in left if abs(k - time) <= tolerance), None)
        if near is not None:
            left.remove(near)
            hits += 1
    return 2 * hits / total


def label_agreement(
    known: tuple[ArrayLike, Sequence[str]], found: tuple[ArrayLike, Sequence[str]], seconds: float
) -> float:
    """Pairwise F-measure, 0 to 1: of pairs of moments that have one label in both, among those that have in either.

    Args:
        known, found: edges (n + 1,) in seconds and n labels of sections; what is outside has one of its own.
        seconds: length of the song.
    """
    times = np.arange(STEP_S / 2, seconds, STEP_S)
    one, other = (_numbers(times, *sections) for sections in (known, found))
    same_one, same_other = one[:, None] == one, other[:, None] == other
    upper = np.triu_indices(len(times), 1)
    both = int((same_one & same_other)[upper].sum())
    total = int(same_one[upper].sum() + same_other[upper].sum())
    return 2 * both / total if total else 1.0


def _numbers(times: NDArray[np.float64], edges: ArrayLike, labels: Sequence[str]) -> NDArray[np.int64]:
    at = np.searchsorted(np.asarray(edges, np.float64), times, side="right") - 1
    names = {label: number for number, label in enumerate(dict.fromkeys(labels))}
    return np.array([names[labels[i]] if 0 <= i < len(labels) else -1 for i in at], np.int64)
