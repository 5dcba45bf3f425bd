"""The stretches of an evaluation: held-out windows of mocap, unmodified and warped onto beats of held-out songs."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.data.clip import Clip
from choreo.data.synthetic.beat_pairing import paired_clips
from choreo.data.synthetic.songs import HELD_OUT_SEED, loops, synthesized_songs
from choreo.data.windows.captions import attributes
from choreo.data.windows.windows import caption_key
from choreo.errors import MissingDependency
from choreo.motion.representation import decode
from choreo.motion.skeleton import WINDOW
from choreo.music.beats import beats_of, downbeats_of
from choreo.music.encoders import DSP35, MusicEncoder
from choreo.music.features import with_beats
from choreo.music.rhythm import AS_HEARD, MIN_BEATS, Rhythm

log = logging.getLogger(__name__)

SONGS: Final = 6
"""Songs synthesised for pairing, in addition to the loops in the data folder's `audio`."""
HOP: Final = WINDOW // 2
PLAIN_CAPTION: Final = "a person dances"

Positions = NDArray[np.float32]


@dataclass(frozen=True)
class Stretch:
    """A held-out window.

    Attributes:
        key: the clip's key and the first frame.
        positions: (196, 22, 3) of the mocap.
        prompt: a caption of it with one true attribute of how it moves; PLAIN_CAPTION if it has no caption.
        music: (196, F) features, or None. 35-d ones of a paired stretch have its true beats instead of tracked ones,
            so that scores do not depend on a beat tracker.
        beats: seconds within it; None unless the motion was warped onto them, because only there do music and motion
            agree to the frame.
        downbeats: those of them that begin a bar; None where beats are, empty where bars are not known.
    """

    key: str
    positions: Positions
    prompt: str
    music: NDArray[np.float32] | None
    beats: NDArray[np.float64] | None
    downbeats: NDArray[np.float64] | None = None

    @property
    def rhythm(self) -> Rhythm:
        """What a generator is told of the beats: those that its dance is measured by."""
        if self.music is None or self.beats is None or len(self.beats) < MIN_BEATS:
            return AS_HEARD
        bars = () if self.downbeats is None else self.downbeats
        downbeats = tuple(float(time) for time in bars) if len(bars) >= MIN_BEATS else None
        return Rhythm(beats=tuple(float(time) for time in self.beats), downbeats=downbeats)

    @classmethod
    def of(cls, clip: Clip, start: int, number: int, paired: bool) -> "Stretch":
        """Frames start to start + 195 of a clip.

        Args:
            clip: of at least start + 196 frames.
            start: first frame.
            number: chooses among the clip's captions and true attributes.
            paired: whether the clip was warped onto its music's beats.
        """
        part = clip.part(start, start + WINDOW)
        caption = part.captions[number % len(part.captions)].text if part.captions else PLAIN_CAPTION
        true = attributes(part.features, part.heading)
        beats = beats_of(part.rhythm) if paired else None
        return cls(
            f"{clip.key}@{start}",
            decode(part.features).astype(np.float32),
            caption_key(caption, true[number % len(true)] if true else ""),
            part.music if part.music is None or beats is None else with_beats(part.music, beats),
            beats,
            downbeats_of(part.rhythm) if paired else None,
        )


def windows(clips: Iterable[Clip], hop: int = WINDOW, paired: bool = False) -> list[Stretch]:
    """Every window of 196 frames of the clips, at steps of `hop` frames."""
    found: list[Stretch] = []
    for clip in clips:
        for start in range(0, clip.num_frames - WINDOW + 1, hop):
            found.append(Stretch.of(clip, start, len(found), paired))
    return found


def held_out_stretches(
    held_out: Sequence[Clip], audio: Path, count: int, encoder: MusicEncoder = DSP35
) -> list[Stretch]:
    """`count` windows: half spread evenly over the recordings, half over those warped onto the beats of songs.

    Fewer if the data has fewer. Windows of one clip overlap by half.

    Args:
        held_out: clips that are not in the training split.
        audio: folder of loops, of which those not used in training are taken; it need not exist.
        count: at least 1.
        encoder: of the songs; where it is not on this machine no recording is warped, and a note is logged.
    """
    plain, paired = windows(held_out, HOP), windows(_paired(held_out, audio, encoder), HOP, paired=True)
    out = []
    for found, wanted in ((plain, (count + 1) // 2), (paired, count // 2)):
        picks = np.linspace(0, max(len(found) - 1, 0), min(wanted, len(found))).astype(int)
        out += [found[i] for i in picks]
    return out


def _paired(held_out: Sequence[Clip], audio: Path, encoder: MusicEncoder) -> list[Clip]:
    try:
        songs = [
            *synthesized_songs(SONGS, HELD_OUT_SEED, encoder=encoder), *loops(audio, held_out=True, encoder=encoder)
        ]  # fmt: skip
    except MissingDependency as error:
        log.warning("no motion is warped onto songs with known beats, so alignment is not measured: %s", error)
        return []
    return paired_clips(held_out, songs, 1, HELD_OUT_SEED)
