"""Which frames of a song repeat earlier ones: those of a section that came before, bar by bar."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.music.audio import FRAME_RATE
from choreo.music.structure import Section

STEADY_S: Final = 0.06
"""Bars whose distance to those that they repeat varies by less are at one tempo, and trackers are no more exact."""

Array = NDArray[np.float64]


def repeated_frames(sections: Sequence[Section], num_frames: int) -> Array | None:
    """For each frame (num_frames,) at 30 fps the place of the one that it repeats; itself where it is new.

    A section repeats the first one of its label, from bar to bar; what it is longer by is new. At one tempo places are
    whole frames; where the tempo differs they lie between frames. None where nothing is repeated.
    """
    places, first = np.arange(num_frames, dtype=np.float64), dict[str, Section]()
    repeats = False
    for section in sections:
        model = first.setdefault(section.label, section)
        if model is section:
            continue
        bars = min(len(section.bars), len(model.bars))
        here, there = section.bars[:bars] * FRAME_RATE, model.bars[:bars] * FRAME_RATE
        begin, end = int(np.rint(here[0])), min(int(np.rint(here[-1])), num_frames)
        if begin >= end:
            continue
        frames = np.arange(begin, end, dtype=np.float64)
        places[begin:end] = np.clip(_places(frames, here, there), 0, begin - 0.51)
        repeats = True
    return places if repeats else None


def _places(frames: Array, here: Array, there: Array) -> Array:
    """Places of frames (n,), given the bars (m,) of a section and of the one that it repeats, in frames."""
    away = here - there
    middle = float(np.median(away))
    if np.abs(away - middle).max() <= STEADY_S * FRAME_RATE:
        return frames - round(middle)
    return np.interp(frames, here, there)
