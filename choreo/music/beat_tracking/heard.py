"""The beats that dances are made to: one tracker for training, phrases, evaluation and serving."""

from functools import cache
from typing import Final

from choreo.music.audio import Audio
from choreo.music.beat_tracking.beats import NO_BEATS, Beats, BeatTracker, TrackerName, beat_tracker

DEFAULT_TRACKER: Final[TrackerName] = "beatnet"
SURE: Final = 0.3
"""Confidence below which beats are not danced to: speech has .25, drones .2, songs with drums .7 to .9."""


def heard_beats(audio: Audio, tracker: str = DEFAULT_TRACKER) -> Beats:
    """Beats of a song within its frames (`Audio.num_frames`); none where the tracker is not sure of them.

    Songs are heard best at the tracker's own sampling rate or above.

    Raises:
        InvalidInput: no tracker has this name.
        MissingDependency: its weights are not on this machine.
    """
    found = _loaded(tracker).track(audio)
    return found.before(audio.num_frames) if found.confidence >= SURE else NO_BEATS


@cache
def _loaded(name: str) -> BeatTracker:
    """A tracker that keeps its weights; all of them are thread-safe."""
    return beat_tracker(name)
