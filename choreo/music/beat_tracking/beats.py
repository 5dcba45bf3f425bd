"""What a beat tracker heard, and the trackers by name."""

import os
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from choreo.errors import InvalidInput
from choreo.music.audio import FRAME_RATE, Audio
from choreo.music.beat_tracking.beat_this import VARIABLE
from choreo.music.beats import tempo_of

TrackerName = Literal["beatnet", "librosa", "beat_this", "beat_this_bars"]
TRACKERS: Final[tuple[TrackerName, ...]] = get_args(TrackerName)
SHIPPED_TRACKERS: Final[tuple[TrackerName, ...]] = ("beatnet", "librosa")
"""Those whose weights come with the program."""


@dataclass(frozen=True)
class Beats:
    """Beats of a song.

    Attributes:
        times: float64 (n,), seconds from the start of the song, ascending.
        numbers: int (n,), number of each beat in its bar, from 1; 0 where the tracker hears no bars.
        strengths: float64 (n,), how sure each beat is, 0 to 1.
        confidence: how sure they are together, 0 to 1: strength of the beats less that of what is between them.
        meter: beats of a bar; 0 where no bars are heard.
    """

    times: NDArray[np.float64]
    numbers: NDArray[np.int64]
    strengths: NDArray[np.float64]
    confidence: float
    meter: int

    @property
    def downbeats(self) -> NDArray[np.float64]:
        """Seconds of the first beat of each bar (m,)."""
        return self.times[self.numbers == 1]

    @property
    def tempo(self) -> float:
        """Beats per minute, pauses left out; 0 with fewer than two beats."""
        return tempo_of(self.times)

    def before(self, num_frames: int) -> "Beats":
        """Those whose nearest frame is one of the first `num_frames` at 30 fps."""
        inside = np.rint(self.times * FRAME_RATE) < num_frames
        if inside.all():
            return self
        return replace(self, times=self.times[inside], numbers=self.numbers[inside], strengths=self.strengths[inside])

    def document(self) -> dict[str, Any]:
        """JSON-serialisable form, with times to the millisecond."""
        return {
            "tempo": round(self.tempo, 2),
            "time_signature": f"{self.meter}/4" if self.meter else None,
            "confidence": round(self.confidence, 3),
            "beats": self.times.round(3).tolist(),
            "downbeats": self.downbeats.round(3).tolist(),
            "strengths": self.strengths.round(3).tolist(),
        }


NO_BEATS: Final = Beats(np.zeros(0), np.zeros(0, np.int64), np.zeros(0), 0.0, 0)


class BeatTracker(Protocol):
    """Hears the beats of a song."""

    @property
    def name(self) -> str:
        """The name that `beat_tracker` knows."""

    @property
    def sample_rate(self) -> int:
        """Hz that songs should be decoded at; others are resampled."""

    def track(self, audio: Audio) -> Beats:
        """Beats of a song; none where nothing sounds.

        Raises:
            MissingDependency: its weights are not on this machine.
            InvalidArtifact: they are broken.
            NonFiniteOutput: its network answers NaN or infinity.
        """


def usable_trackers() -> tuple[TrackerName, ...]:
    """Names of trackers that come with the program, and of those of Beat This! where `CHOREO_BEAT_THIS` is set."""
    return TRACKERS if os.environ.get(VARIABLE) else SHIPPED_TRACKERS


def beat_tracker(name: str) -> BeatTracker:
    """Tracker by name: `beatnet` (the default), `librosa`, `beat_this` or `beat_this_bars`.

    No weights are loaded before it is used.

    Raises:
        InvalidInput: no tracker has this name.
    """
    if name == "beatnet":
        from choreo.music.beat_tracking.beatnet_tracker import BeatNetTracker

        return BeatNetTracker()
    if name == "librosa":
        from choreo.music.beat_tracking.librosa_tracker import LibrosaTracker

        return LibrosaTracker()
    if name in ("beat_this", "beat_this_bars"):
        from choreo.music.beat_tracking.beat_this_tracker import BeatThisTracker

        return BeatThisTracker(regular=name == "beat_this_bars")
    raise InvalidInput("beat_tracker", f"must be {' or '.join(TRACKERS)}, got {name[:64]!r}")
