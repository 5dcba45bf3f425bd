"""The default tracker: BeatNet's networks, and the bar-pointer model over what they hear."""

import threading

from choreo.music.audio import Audio
from choreo.music.beat_tracking.activations import RegularBeats
from choreo.music.beat_tracking.beatnet import BeatNet
from choreo.music.beat_tracking.beats import NO_BEATS, Beats
from choreo.music.beat_tracking.spectrum import FPS, HOP, SAMPLE_RATE, log_spectrum
from choreo.music.level import frame_levels, stretches_of_sound


class BeatNetTracker:
    """Beats, their numbers in the bar and how sure they are. Thread-safe; the weights are loaded at the first use."""

    name = "beatnet"
    sample_rate = SAMPLE_RATE

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._network: BeatNet | None = None
        self._beats = RegularBeats(FPS)

    def track(self, audio: Audio) -> Beats:
        """Beats of a song; every stretch between two silences of a second or more has its own meter and tempo.

        Raises:
            MissingDependency: the weights are missing.
        """
        samples = audio.at(SAMPLE_RATE).samples
        stretches = stretches_of_sound(frame_levels(samples, SAMPLE_RATE, HOP), FPS)
        if not stretches:
            return NO_BEATS
        return self._beats.find(self._loaded().activations(log_spectrum(samples)), stretches)

    def _loaded(self) -> BeatNet:
        with self._lock:
            if self._network is None:
                self._network = BeatNet.shipped()
            return self._network
