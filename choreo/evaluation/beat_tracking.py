"""How well beats that were heard agree with beats that are known (Davies, Degara and Plumbley 2009)."""

from typing import Final

import numpy as np
from numpy.typing import ArrayLike

TOLERANCE_S: Final = 0.07
TEMPO_TOLERANCE: Final = 0.04


def beat_f_measure(known: ArrayLike, heard: ArrayLike, tolerance: float = TOLERANCE_S) -> float:
    """Harmonic mean of precision and recall, 0 to 1, of heard beats in seconds (m,) against known ones (n,).

    Each beat is matched at most once, within the tolerance in seconds. Without known and heard beats it is 1.
    """
    reference, found = np.sort(np.asarray(known, float)), np.sort(np.asarray(heard, float))
    if not len(reference) and not len(found):
        return 1.0
    hits = i = j = 0
    while i < len(reference) and j < len(found):  # matching in order is optimal, as all windows are equally wide
        if abs(reference[i] - found[j]) <= tolerance:
            hits, i, j = hits + 1, i + 1, j + 1
        elif reference[i] < found[j]:
            i += 1
        else:
            j += 1
    return 2 * hits / (len(reference) + len(found))


def is_tempo_right(known: float, heard: float, tolerance: float = TEMPO_TOLERANCE) -> bool:
    """Whether a tempo in BPM is within a share of the known one; half and double tempo are wrong."""
    return abs(heard - known) <= tolerance * known
