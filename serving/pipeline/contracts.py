"""What passes between the stages, and the contract of each stage.

Every stage is one protocol. Objects of this process (`serving.stages`) implement it; the Ray Serve replicas around them
and the handles in front of those are derived from it (`serving.ray.remote`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from choreo.generators.base import Conditioning
from choreo.generators.spec import GeneratorSpec
from choreo.motion.clip import Motion
from choreo.motion.performance import Performance
from choreo.music.song_beats import NO_BEATS, SongBeats
from retrieval.library.embedding import Query
from retrieval.library.filters import EVERYTHING, PhraseFilter
from retrieval.library.library import Hit
from serving.pipeline.request import MotionRequest

SHORT_VERSION = 12
"""Hex digits of a library's version in reports."""


@dataclass(frozen=True)
class EncodedRequest:
    """Song and prompt, encoded: for the networks, and apart from that for the phrase library.

    Attributes:
        conditioning: what the generator's networks see.
        query: what phrases are looked for by.
        text_encoder: name of the encoder that the query's text comes from.
        tempo: beats per minute, 0 without a song.
        song: sha256 of the song, for provenance.
        notes: what the sender should know of the song, such as that it was cut off.
        beats: of the song, for finishing.
    """

    conditioning: Conditioning
    query: Query = field(default_factory=Query)
    text_encoder: str = ""
    tempo: float = 0.0
    song: str | None = None
    notes: tuple[str, ...] = ()
    beats: SongBeats = NO_BEATS

    @property
    def num_frames(self) -> int:
        """Length of the motion to make."""
        return self.conditioning.num_frames


@dataclass(frozen=True)
class PhraseQuery:
    """What a motion needs phrases for.

    Attributes:
        query: embedded blocks that are known.
        text: the prompt itself, for rerankers that read; empty without one.
        text_encoder: name of the encoder that the query's text comes from.
        num_frames: length of the motion.
        beats: seconds within the song.
        has_start: whether the motion begins with a given one.
        filter: phrases that may be used.
        variety: 0 the best ones however alike, towards 1 ever more different ones.
    """

    query: Query
    text: str = ""
    text_encoder: str = ""
    num_frames: int = 0
    beats: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    has_start: bool = False
    filter: PhraseFilter = EVERYTHING
    variety: float = 0.0

    @classmethod
    def of(cls, request: MotionRequest, encoded: EncodedRequest) -> "PhraseQuery":
        """That of an encoded request."""
        return cls(
            query=encoded.query,
            text=request.text or "",
            text_encoder=encoded.text_encoder,
            num_frames=encoded.num_frames,
            beats=encoded.conditioning.beats,
            has_start=request.start is not None,
            filter=request.phrase_filter,
            variety=request.phrase_variety,
        )


@dataclass(frozen=True)
class UsedPhrase:
    """A phrase in a prior.

    Attributes:
        score, similarity: of the search (`retrieval.library.library.Hit`).
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
    """Whether a prior had been made before, or for an equal request at the same time; and the bytes of the cache."""

    hit: bool
    bytes: int


@dataclass(frozen=True)
class RetrievalResult:
    """The outcome of the retrieval stage.

    Attributes:
        prior: None where motion is generated without one.
        reason: why there is none; empty with one.
        library: version of the library that was searched, or empty.
        cache: None where no prior was looked for.
    """

    prior: Prior | None
    reason: str = ""
    library: str = ""
    cache: CacheStats | None = None

    def document(self) -> dict[str, Any]:
        """The entry `prior` of a motion's metadata."""
        coverage = 0.0 if self.prior is None else round(float(self.prior.mask.mean()), 4)
        return {
            "used": self.prior is not None,
            "reason": self.reason or None,
            "library": self.library[:SHORT_VERSION] or None,
            "coverage": coverage,
        }

    def phrases(self) -> list[dict[str, Any]]:
        """The entry `phrases` of a motion's metadata."""
        return [] if self.prior is None else [asdict(phrase) for phrase in self.prior.phrases]


@dataclass(frozen=True)
class LibraryFacts:
    """Facts about the open phrase library.

    Attributes:
        version: hash of its content.
        licences: number of phrases by licence tag.
        index: kind of index.
        place: where it is searched, "cpu" or a GPU.
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
class StepCounts:
    """Step batches of one sampler since it last told of them, whosever rows were in them.

    Attributes:
        batches: calls of a graph.
        rows: rows in them.
        capacity: rows that they had room for.
    """

    batches: int = 0
    rows: int = 0
    capacity: int = 0


NO_STEPS = StepCounts()


@dataclass(frozen=True)
class SamplingResult:
    """Generated features in the model's representation, not normalised.

    Attributes:
        features: (num_frames, C), or (N, num_frames, C) of several dancers.
        rows: rows that were evaluated, by graph.
        contacts: (num_frames, 4), or (N, num_frames, 4), of the feet, 0..1, where the network tells them.
        steps: what the sampler has done since its answer before. Each batch is told of once, so sums are exact.
    """

    features: NDArray[np.float32]
    model: str
    fps: float
    rows: dict[str, int]
    steps: StepCounts = NO_STEPS
    contacts: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class SampleScore:
    """One of the samples of a request, next to the others.

    Attributes:
        seed: that makes this sample alone.
        beats: beat alignment score on the sure beats of the song; None where there are none.
        skating: share of frames in which a foot slides.
        text: cosine similarity with the prompt; None without a prompt or without the encoder that measures it.
        energy: mean kinetic energy of a joint of unit mass, m^2/s^2.
        total: what they are ranked by.
        admitted: whether the energy is near that of the others.
        chosen: whether it is the result.
    """

    seed: int
    beats: float | None
    skating: float
    text: float | None
    energy: float
    total: float
    admitted: bool = True
    chosen: bool = False


@dataclass(frozen=True)
class Result:
    """A finished request.

    Attributes:
        before_locks: (N, T, 22, 3) positions before the foot lock, for comparisons between executors.
    """

    performance: Performance
    before_locks: NDArray[np.float32]
    model: str
    seed: int
    retrieved: RetrievalResult
    seconds: dict[str, float] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    preset: str = ""
    steps: StepCounts = NO_STEPS

    @property
    def num_frames(self) -> int:
        """Length of the performance."""
        return self.performance.num_frames

    @property
    def motion(self) -> Motion:
        """That of a solo.

        Raises:
            InvalidInput: there are several dancers.
        """
        return self.performance.single()

    @property
    def before_lock(self) -> NDArray[np.float32]:
        """(T, 22, 3) positions of a solo before the foot lock."""
        return self.before_locks[0]


@dataclass(frozen=True)
class MotionFile:
    """A finished request as a file, and the seconds of finishing and writing it, from `began` (`time.time`) on."""

    body: bytes
    seconds: dict[str, float]
    began: float = 0.0


@dataclass(frozen=True)
class DeliveredFile:
    """A request that was answered by a file.

    Attributes:
        notes, samples: those of its metadata, which not every format has.
    """

    body: bytes
    num_frames: int
    retrieved: RetrievalResult
    seconds: dict[str, float]
    rows: dict[str, int]
    model: str
    notes: Sequence[str] = ()
    preset: str = ""
    steps: StepCounts = NO_STEPS
    samples: Sequence[Mapping[str, Any]] = ()


class EncodeStage(Protocol):
    """Decodes and encodes songs and prompts."""

    async def encode(self, request: MotionRequest, spec: GeneratorSpec) -> EncodedRequest:
        """Encode for a generator.

        Raises:
            InvalidInput: the song cannot be decoded, is too long, or its features do not fit the generator.
            MissingDependency: the generator's encoder is not installed.
        """
        ...

    async def warm_up(self, spec: GeneratorSpec) -> None:
        """Load the encoders that a generator needs."""
        ...


class RetrieveStage(Protocol):
    """Finds phrases, and makes priors of them."""

    async def retrieve(self, query: PhraseQuery) -> RetrievalResult:
        """Motion prior from the phrase library, or why there is none.

        Raises:
            InvalidArtifact: the library is broken.
        """
        ...

    async def search(self, query: PhraseQuery, top_n: int) -> SearchResult:
        """The phrases that `retrieve` would choose from, and those after them.

        Raises:
            InvalidArtifact: the library was built with another text encoder.
        """
        ...

    async def library(self) -> LibraryFacts | None:
        """What is known of the phrase library in use."""
        ...

    async def warm_up(self, spec: GeneratorSpec) -> None:
        """Open the library for queries from a generator's text encoder."""
        ...


class SampleStage(Protocol):
    """Takes requests through the graphs of generators."""

    async def models(self) -> dict[str, GeneratorSpec]:
        """Contracts of the served generators, the default one first."""
        ...

    async def sample(self, request: MotionRequest, conditioning: Conditioning, prior: Prior | None) -> SamplingResult:
        """Generate features with the seed of the request, whatever its number of samples.

        Raises:
            InvalidInput: no generator of the request's name is served.
            DeadlineExceeded: the request's deadline passed; no further step was started.
            ModelUnavailable: the generator was unloaded.
            BackendUnavailable, NonFiniteOutput: from the engine.
        """
        ...

    async def samples(
        self, request: MotionRequest, conditioning: Conditioning, prior: Prior | None
    ) -> list[SamplingResult]:
        """`sample` for each of `request.seeds`, in their order and in the same step batches."""
        ...

    async def warm_up(self) -> None:
        """Return when every served generator answers; raise what stands in the way."""
        ...


class FinishStage(Protocol):
    """Makes finished motion of generated features, and files of finished motion."""

    async def finish(
        self, request: MotionRequest, sampled: SamplingResult, meta: dict[str, Any], beats: SongBeats = NO_BEATS
    ) -> tuple[Performance, NDArray[np.float32]]:
        """Features to a finished performance, and positions (N, T, 22, 3) before the foot lock."""
        ...

    async def score(
        self, request: MotionRequest, samples: Sequence[SamplingResult], beats: SongBeats = NO_BEATS
    ) -> list[SampleScore]:
        """How good each of the samples of one request is when finished, in their order; one is `chosen`.

        Raises:
            NonFiniteOutput: the features of all hold NaN or infinity.
        """
        ...

    async def deliver(
        self, request: MotionRequest, sampled: SamplingResult, meta: dict[str, Any], beats: SongBeats = NO_BEATS
    ) -> MotionFile:
        """`finish`, and the motion in the request's format, in one call so that the motion is not moved in between.

        Where `meta` has "seconds", those of finishing are added there.
        """
        ...

    async def warm_up(self) -> None:
        """Load what finishing needs."""
        ...


@dataclass(frozen=True)
class Stages:
    """The four stages, wherever they run; each raises the typed errors of `choreo.errors`."""

    encoder: EncodeStage
    retriever: RetrieveStage
    sampler: SampleStage
    finisher: FinishStage
