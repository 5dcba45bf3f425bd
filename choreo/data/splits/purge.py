"""Removal of leaks from training clips: data sets spliced from common material repeat stretches across dances."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

import numpy as np

from choreo.data.clip import Clip
from choreo.data.splits.leaks import find_leaks

MAX_DISTANCE: Final = 0.015
"""Largest root mean square distance between joints of a leak, metres: a dancer repeating a step is farther off."""
MIN_FRAMES: Final = 45
"""Shorter remainders are dropped."""


def without_leaks(training: Sequence[Clip], held_out: Sequence[Clip], max_distance: float = MAX_DISTANCE) -> list[Clip]:
    """The training clips without the stretches that are near-identical to held-out ones (`leaks.find_leaks`).

    A clip that is cut leaves pieces with their frames in the key.
    """
    found = defaultdict(list)
    for leak in find_leaks(training, held_out, max_distance).leaks:
        found[leak.key].append((leak.start, leak.start + leak.frames))
    out = []
    for clip in training:
        if clip.key not in found:
            out.append(clip)
            continue
        keep = np.ones(clip.num_frames + 2, bool)
        keep[[0, -1]] = False
        for first, last in found[clip.key]:
            keep[first + 1 : last + 1] = False
        edges = np.flatnonzero(np.diff(keep)).reshape(-1, 2)
        out += [clip.part(int(a), int(b)) for a, b in edges if b - a >= MIN_FRAMES]
    return out
