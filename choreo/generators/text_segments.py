"""Prompts over time: which window of a motion follows which of them.

Each window is conditioned on one sentence, so a prompt changes where a window ends, not at a frame.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class TextSegment:
    """A prompt for frames `first` to `stop` - 1, at the generator's rate, as its encoder's embedding (E,)."""

    first: int
    stop: int
    text: NDArray[np.float32]


def segment_of(start: int, window: int, num_frames: int, spans: Sequence[tuple[int, int]]) -> int | None:
    """Index of the span (first, stop) that most of a window's frames lie in; None where most lie in none.

    Args:
        start: first frame of the window.
        window: its frames.
        num_frames: of the motion; windows may reach beyond it.
        spans: that do not overlap.
    """
    stop = min(start + window, num_frames)
    shares = [min(stop, end) - max(start, first) for first, end in spans]
    outside = (stop - start) - sum(max(share, 0) for share in shares)
    best = max(range(len(shares)), key=shares.__getitem__, default=None)
    return best if best is not None and shares[best] > 0 and shares[best] >= outside else None
