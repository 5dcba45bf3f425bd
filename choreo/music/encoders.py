"""Music encoders by name."""

from typing import Any, Final, Literal, Protocol

from choreo.errors import InvalidInput
from choreo.music.audio import Audio
from choreo.music.beat_tracking.heard import DEFAULT_TRACKER, heard_beats
from choreo.music.beat_tracking.spectrum import SAMPLE_RATE
from choreo.music.encoded import MusicFeatures, with_rhythm
from choreo.music.features import DSP_DIM, dsp35

MusicEncoderName = Literal["dsp35", "jukebox"]


class MusicEncoder(Protocol):
    """Turns a decoded song into features of `dim` columns."""

    @property
    def name(self) -> str:
        """The name that `music_encoder` knows."""

    @property
    def dim(self) -> int:
        """D, columns of the features."""

    @property
    def tracker(self) -> str:
        """Name of the tracker that hears the beats."""

    @property
    def sample_rate(self) -> int:
        """Sampling rate in Hz at which songs should be decoded; songs at another rate are resampled."""

    def encode(self, audio: Audio) -> MusicFeatures:
        """Features of the whole song.

        Raises:
            MissingDependency: the encoder's package or weights are not on this machine.
        """

    def close(self) -> None:
        """End its process, if it has one; an encoding under way fails."""


class Dsp35Encoder:
    """The default: 35 signal-processing features (`choreo.music.features`), and the beats of a tracker.

    Args:
        tracker: name of the beat tracker, in `choreo.music.beat_tracking.beats.TRACKERS`.
    """

    name = "dsp35"
    dim = DSP_DIM
    sample_rate = SAMPLE_RATE
    """The tracker's: beats are missed without the highest frequencies. The features take less."""

    def __init__(self, tracker: str = DEFAULT_TRACKER) -> None:
        self.tracker = tracker

    def encode(self, audio: Audio) -> MusicFeatures:
        """Features, beats and onsets of the whole song; about 0.4 s of CPU per minute of music."""
        heard = heard_beats(audio, self.tracker)
        columns = dsp35(audio, heard.times)
        return with_rhythm(columns, columns, self.name, audio.sha256, heard)

    def close(self) -> None:
        """Nothing is to be ended."""


DSP35: Final = Dsp35Encoder()


def music_encoder(name: str, tracker: str = DEFAULT_TRACKER, **options: Any) -> MusicEncoder:
    """Encoder by name: `dsp35` or `jukebox`; options go to `JukeboxEncoder`. Nothing is loaded before it is used.

    Args:
        name: of the encoder.
        tracker: name of the beat tracker.
        **options: of `JukeboxEncoder`.

    Raises:
        InvalidInput: no encoder has this name.
    """
    if name == "dsp35":
        return Dsp35Encoder(tracker)
    if name == "jukebox":
        from choreo.music.jukebox import JukeboxEncoder

        return JukeboxEncoder(tracker=tracker, **options)
    raise InvalidInput("music_encoder", f"must be dsp35 or jukebox, got {name!r}")
