"""Taking out of the training side what the held-out side has as well: spliced recordings repeat across dances."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

import numpy as np

from choreo.data.clip import Clip
from choreo.data.splits.leaks import find_leaks

NEAR: Final = 0.015
"""Metres between joints, root mean square. A dancer who repeats a step is farther off; a splice is not."""
SHORTEST: Final = 45
"""Frames of a remainder that is worth keeping."""


def without_leaks(training: Sequence[Clip], held_out: Sequence[Clip], near: float = NEAR) -> list[Clip]:
    """The training clips less the stretches that are near-identical to held-out ones.

    A clip that is cut leaves pieces named after their frames. `choreo.data.splits.leaks` says what is compared.
    """
    found = defaultdict(list)
    for leak in find_leaks(training, held_out, near).leaks:
        found[leak.key].append((leak.start, leak.start + leak.frames))
    out = []
    for clip in training:
        keep = np.ones(clip.num_frames + 2, bool)
        keep[[0, -1]] = False
        for first, last in found[clip.key]:
            keep[first + 1 : last + 1] = False
        edges = np.flatnonzero(np.diff(keep)).reshape(-1, 2)
        if clip.key in found:
            out += [clip.part(int(a), int(b)) for a, b in edges if b - a >= SHORTEST]
        else:
            out.append(clip)
    return out
