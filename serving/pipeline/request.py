"""A validated request: what everything behind the edge works on."""

import secrets
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from choreo.generators.constraints import FREE, Constraints
from choreo.motion.clip import Motion
from choreo.motion.formats.formats import Format
from choreo.motion.formats.view import View
from choreo.motion.resample import resampled_frames
from choreo.motion.skeleton import WINDOW
from choreo.music.rhythm import AS_HEARD, Rhythm
from choreo.postprocess.options import FinishOptions
from retrieval.library.filters import EVERYTHING, PhraseFilter
from serving.pipeline.directing import Segment

MAX_SEED = 2**63 - 1


class Priority(StrEnum):
    """Who gives way to whom; neither ever waits for good."""

    INTERACTIVE = "interactive"
    BULK = "bulk"

    @property
    def weight(self) -> float:
        """Share of the rows that are denoised, next to that of another request."""
        return 1.0 if self is Priority.INTERACTIVE else 0.25


@dataclass(frozen=True)
class Attachments:
    """The binary parts of a request, still as bytes.

    Attributes:
        audio: of a song.
        features: a NumPy file of music features.
        start: an .npz of motion, or the path of a motion file of any format.
        end: the same, of a motion that the result ends with.
        clip: the same, of a motion that constraints take spans or poses of.
        rig: a character's file (.glb, .vrm, .bvh), which is the answer with the dance in it.
        leader: the same, of the dancer whom a duet follows.
    """

    audio: bytes | None = None
    features: bytes | Path | None = None
    start: bytes | Path | None = None
    end: bytes | Path | None = None
    clip: bytes | Path | None = None
    rig: bytes | None = None
    leader: bytes | Path | None = None


@dataclass(frozen=True)
class MotionRequest:
    """A validated request.

    Attributes:
        audio: undecoded song bytes; the encoder decodes them.
        features: (T, F) precomputed music features at 30 fps.
        start: motion that the result begins with; `meta["notes"]` says what was done to it.
        num_frames: None until the song's length is known.
        text_guidance, music_guidance: separate scales; None for both: guidance_scale for all conditions together.
        guidance_interval: lowest and highest noise, t / T, at which guidance acts.
        priority: next to whom it is denoised.
        deadline: time.time() after which the result is of no use.
        view: of the camera of a film.
        preset: the one that was named, for figures; what it means is in the fields above.
        phrase_filter, phrase_variety: see `retrieval.search.finder.PhraseRequest`.
        rhythm: what the caller says of the song's beats.
        num_samples: dances that are made, of which the best is the result.
        constraints: what the motion must keep to, in addition to its start.
        segments: prompts over time, ascending.
        fps: of the result; None: the generator's.
        rig: file of the character that dances, which `format` is that of; None: a mannequin or none.
        leader: the dancer of a duet who is given.
        leader_follows: whether that dancer follows, so that the one who leads is made.
    """

    text: str | None
    audio: bytes | None
    features: NDArray[np.float32] | None
    start: Motion | None
    num_frames: int | None
    guidance_scale: float
    num_steps: int
    sampler: str
    seed: int
    use_rag: bool
    model: str | None
    format: Format
    finish: FinishOptions
    deadline: float
    text_guidance: float | None = None
    music_guidance: float | None = None
    guidance_interval: tuple[float, float] = (0.0, 1.0)
    priority: Priority = Priority.INTERACTIVE
    request_id: str = field(default_factory=lambda: secrets.token_hex(8))
    phrase_filter: PhraseFilter = EVERYTHING
    phrase_variety: float = 0.0
    view: View = View.FOLLOW
    preset: str = "reference"
    rhythm: Rhythm = AS_HEARD
    num_samples: int = 1
    constraints: Constraints = FREE
    segments: tuple[Segment, ...] = ()
    fps: float | None = None
    rig: bytes | None = None
    leader: Motion | None = None
    leader_follows: bool = False

    @property
    def seeds(self) -> list[int]:
        """Those of the samples: the request's own and the ones after it; after the largest one comes 0."""
        return [(self.seed + i) % (MAX_SEED + 1) for i in range(self.num_samples)]

    @property
    def weight(self) -> float:
        """Share of the rows of each sample: all samples of a request together have that of one request."""
        return self.priority.weight / self.num_samples

    @property
    def given_notes(self) -> list[str]:
        """What was done to the motions that were sent, for their sender."""
        given = {
            "start": self.start, "end": self.constraints.end, "clip": self.constraints.clip, "leader": self.leader,
        }  # fmt: skip
        return [f"{name} {note}" for name, m in given.items() if m is not None for note in m.meta.get("notes", ())]

    def delivered_frames(self, frames: int, fps: float) -> int:
        """Frames of the file of a motion of `frames` at `fps`."""
        return frames if self.fps is None else resampled_frames(frames, fps, self.fps)

    @property
    def known_frames(self) -> int | None:
        """Length of the motion, as far as it is known before its song is decoded."""
        if self.num_frames is not None:
            return self.num_frames
        if self.features is not None:
            return len(self.features)
        return WINDOW if self.audio is None else None

    @property
    def known_sampled_frames(self) -> int | None:
        """Frames of all samples together, as far as they are known before the song is decoded."""
        return None if self.known_frames is None else self.known_frames * self.num_samples

    def without_song(self) -> "MotionRequest":
        """The request without what only the encoder reads, which may be megabytes."""
        return replace(self, audio=None, features=None, rhythm=AS_HEARD)

    def without_rig(self) -> "MotionRequest":
        """The request without what only the finisher reads, which may be megabytes."""
        return self if self.rig is None else replace(self, rig=None)
