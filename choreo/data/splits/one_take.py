"""A recording cut in time, for data sets of a single song or take: its end is held out, with a gap before it."""

from typing import Final

from choreo.data.clip import Clip
from choreo.data.splits.purge import MIN_FRAMES
from choreo.data.splits.split import HELD_OUT, TRAINING, Split
from choreo.errors import InvalidInput
from choreo.motion.skeleton import FPS, WINDOW

GAP: Final = FPS
"""Frames between the two stretches that are in neither: a movement that spans the cut is in one of them only."""
HELD_OUT_SHARE: Final = 0.2
"""Share of a long recording that is held out; a shorter one gives a window if it can spare one."""


def piece(split: Split, part: str, clip: Clip) -> Clip:
    """What of a clip belongs to a part: all of it, unless the split is cut in time.

    Raises:
        InvalidInput: the clip is too short to be cut.
    """
    if not split.cut:
        return clip
    needed = 2 * MIN_FRAMES + GAP
    if clip.num_frames < needed:
        raise InvalidInput(
            clip.key,
            f"is the only song or take, and its {clip.num_frames / FPS:.1f} s are too short to be divided: "
            f"{TRAINING} and {HELD_OUT} need {needed / FPS:.1f} s together; add a recording of another song or take",
        )
    spare = clip.num_frames - GAP
    held_out = max(round(HELD_OUT_SHARE * spare), min(WINDOW, spare // 2))
    first = clip.num_frames - held_out
    return clip.part(first, clip.num_frames) if part == HELD_OUT else clip.part(0, first - GAP)
