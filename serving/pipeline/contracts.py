"""What passes between the stages of the pipeline, and the interface the pipeline calls them through."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from choreo.generators.spec import ModelSpec
from choreo.motion.clip import Motion
from retrieval.library.embedding import Music
from retrieval.library.library import Hit
from serving.pipeline.request import MotionRequest

SHORT_VERSION = 12
"""Hex digits of a library's version in reports."""


@dataclass(frozen=True)
class Conditioning:
    """Song and prompt as the networks want them.

    Attributes:
        num_frames: length of the motion to make.
        music: (T_song, F) float32 at 30 fps, or None.
        rhythm: (num_frames, R) float32, zeros without music.
        text: (E,) float32, or None.
        beats: seconds within the motion, for retrieval.
        song: sha256 of the song, for provenance.
        heard: the song as phrases are looked for by it, or None.
        text_encoder: name of the encoder that `text` comes from.
    """

    num_frames: int
    music: NDArray[np.float32] | None
    rhythm: NDArray[np.float32]
    text: NDArray[np.float32] | None
    beats: NDArray[np.float64]
    tempo: float
    song: str | None
    heard: Music | None = None
    text_encoder: str = ""


@dataclass(frozen=True)
class UsedPhrase:
    """A phrase in a prior.

    Attributes:
        score, similarity: see `retrieval.library.library.Hit`.
        weight: share of the prior's frames.
        source, start: recording, and seconds within it.
    """

    id: str
    score: float
    similarity: float
    weight: float
    source: str
    start: float
    genre: str
    caption: str
    licence: str


@dataclass(frozen=True)
class Prior:
    """Retrieved motion in the group's frame: features (num_frames, C), not normalised, and mask (num_frames,)."""

    features: NDArray[np.float32]
    mask: NDArray[np.float32]
    phrases: Sequence[UsedPhrase]


@dataclass(frozen=True)
class CacheStats:
    """Whether a prior had been made before, or for an equal request at the same time; and what the cache takes."""

    hit: bool
    bytes: int


@dataclass(frozen=True)
class RetrievalResult:
    """What the retrieval stage came to.

    Attributes:
        prior: None where motion is generated without one.
        reason: why there is none; empty with one.
        library: version of the library that was searched, or empty.
        cache: None where nothing was looked for.
    """

    prior: Prior | None
    reason: str = ""
    library: str = ""
    cache: CacheStats | None = None

    def document(self) -> dict[str, Any]:
        """What a motion's metadata say about its prior."""
        coverage = 0.0 if self.prior is None else round(float(self.prior.mask.mean()), 4)
        return {
            "used": self.prior is not None,
            "reason": self.reason or None,
            "library": self.library[:SHORT_VERSION] or None,
            "coverage": coverage,
        }

    def phrases(self) -> list[dict[str, Any]]:
        """What a motion's metadata say about the phrases of its prior."""
        return [] if self.prior is None else [asdict(phrase) for phrase in self.prior.phrases]


@dataclass(frozen=True)
class LibraryFacts:
    """What is known of the open phrase library.

    Attributes:
        version: hash of its content.
        licences: number of phrases by licence tag.
        index: kind of index.
        place: where it is searched, see `PhraseLibrary.place`.
    """

    version: str
    phrases: int
    seconds: float
    licences: dict[str, int]
    text_encoder: str
    index: str
    place: str


@dataclass(frozen=True)
class SearchResult:
    """Phrases that were searched for, best first; `reason` says why there are none."""

    hits: Sequence[Hit]
    library: LibraryFacts | None
    reason: str = ""


@dataclass(frozen=True)
class SamplingResult:
    """Denoised features (num_frames, C), in the model's channels but not normalised, and what they cost."""

    features: NDArray[np.float32]
    model: str
    rows: dict[str, int]


@dataclass(frozen=True)
class Result:
    """A finished request.

    Attributes:
        before_lock: (T, 22, 3) positions before the foot lock, for comparisons between executors.
    """

    motion: Motion
    before_lock: NDArray[np.float32]
    model: str
    seed: int
    retrieved: RetrievalResult
    seconds: dict[str, float] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)

    @property
    def num_frames(self) -> int:
        """Length of the motion."""
        return self.motion.num_frames


@dataclass(frozen=True)
class MotionFile:
    """A finished request as a file, and the seconds that finishing and writing it took."""

    body: bytes
    seconds: dict[str, float]


@dataclass(frozen=True)
class DeliveredFile:
    """What `Result` says of a request that was answered by a file."""

    body: bytes
    num_frames: int
    retrieved: RetrievalResult
    seconds: dict[str, float]
    rows: dict[str, int]


class Stages(Protocol):
    """The four stages, wherever they run; each raises the typed errors of `choreo.errors`."""

    async def spec(self, model: str | None) -> ModelSpec:
        """Contract of the named model, or of the default one."""
        ...

    async def encode(self, job: MotionRequest, spec: ModelSpec) -> Conditioning:
        """Decode and encode song and prompt."""
        ...

    async def retrieve(self, job: MotionRequest, conditioning: Conditioning) -> RetrievalResult:
        """Motion prior from the phrase library, or why there is none."""
        ...

    async def search(self, job: MotionRequest, conditioning: Conditioning, top_n: int) -> SearchResult:
        """The phrases that `retrieve` would choose from, and those after them."""
        ...

    async def sample(self, job: MotionRequest, conditioning: Conditioning, prior: Prior | None) -> SamplingResult:
        """Run the reverse process."""
        ...

    async def finish(
        self, job: MotionRequest, sampled: SamplingResult, meta: dict[str, Any]
    ) -> tuple[Motion, NDArray[np.float32]]:
        """Features to finished motion, and the positions before the foot lock."""
        ...


class ServingStages(Stages, Protocol):
    """The stages, and what a server needs beside them."""

    async def models(self) -> dict[str, ModelSpec]:
        """Contracts of the served models, the default one first."""
        ...

    async def library(self) -> LibraryFacts | None:
        """What is known of the phrase library in use."""
        ...

    async def deliver(self, job: MotionRequest, sampled: SamplingResult, meta: dict[str, Any]) -> MotionFile:
        """`finish`, and the motion in the job's format, without moving it about in between.

        Where `meta` has "seconds", those of finishing are added there.
        """
        ...

    async def ready(self) -> None:
        """Return when every stage answers a canary; raise what stands in the way."""
        ...
