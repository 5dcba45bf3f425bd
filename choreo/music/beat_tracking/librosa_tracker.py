"""librosa's tracker (Ellis 2007), as the published features are computed with it: beats at 30 fps, without bars."""

import numpy as np
from numpy.typing import NDArray

from choreo.music.audio import FRAME_RATE, SAMPLE_RATE, Audio
from choreo.music.beat_tracking.beats import NO_BEATS, Beats
from choreo.music.compiling import load_librosa
from choreo.music.onsets import HOP, Onsets, onsets


def librosa_beats(found: Onsets) -> NDArray[np.int64]:
    """Frames of beats (n,) at 30 fps; a single one in a stretch of sound is no rhythm."""
    tracker = load_librosa().beat
    _, beats = tracker.beat_track(
        onset_envelope=found.envelope, sr=SAMPLE_RATE, hop_length=HOP, start_bpm=120, tightness=100
    )
    parts = [beats[(beats >= stretch.start) & (beats < stretch.stop)] for stretch in found.stretches]
    return np.concatenate([np.zeros(0), *(part for part in parts if len(part) > 1)]).astype(np.int64)


class LibrosaTracker:
    """Beats by dynamic programming over onset strength. It does not say how sure it is: that is 1 for every beat."""

    name = "librosa"
    sample_rate = SAMPLE_RATE

    def track(self, audio: Audio) -> Beats:
        """Beats of a song."""
        frames = librosa_beats(onsets(audio.at(SAMPLE_RATE).samples))
        frames = frames[frames < audio.num_frames]
        if not len(frames):
            return NO_BEATS
        return Beats(frames / FRAME_RATE, np.zeros(len(frames), np.int64), np.ones(len(frames)), 1.0, 0)
