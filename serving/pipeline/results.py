"""What becomes of a request behind retrieval: features, scores of samples, finished motion and files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from choreo.generators.base import KeyPoses
from choreo.motion.clip import Motion
from choreo.motion.performance import Performance
from serving.pipeline.phrases import RetrievalResult


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
    """Generated features, not normalised.

    Attributes:
        features: (num_frames, C), or (N, num_frames, C) of several dancers; whatever the model's representation, the
            first 66 channels are those of the default one.
        rows: rows that were evaluated, by graph.
        contacts: (num_frames, 4), or (N, num_frames, 4), of the feet, 0..1, where the network tells them.
        steps: what the sampler has done since its answer before. Each batch is told of once, so sums are exact.
        key_poses: what the dance was planned with, of models that plan.
    """

    features: NDArray[np.float32]
    model: str
    fps: float
    rows: dict[str, int]
    steps: StepCounts = NO_STEPS
    contacts: NDArray[np.float64] | None = None
    key_poses: KeyPoses | None = None


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
        samples_failed: samples of the request that were left out because of NaN or infinity.
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
    samples_failed: int = 0

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
        notes, samples, samples_failed: those of its metadata, which not every format has.
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
    samples_failed: int = 0
