"""What passes between the stages of the pipeline, and the interface the pipeline calls them through."""

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from choreo.models.spec import ModelSpec
from choreo.motion.clip import Motion
from serving.request import Job


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
    """

    num_frames: int
    music: NDArray[np.float32] | None
    rhythm: NDArray[np.float32]
    text: NDArray[np.float32] | None
    beats: NDArray[np.float64]
    tempo: float
    song: str | None


@dataclass(frozen=True)
class Prior:
    """Retrieved motion in the group's frame: features (num_frames, C), not normalised, and mask (num_frames,)."""

    features: NDArray[np.float32]
    mask: NDArray[np.float32]
    phrases: list[dict[str, Any]]


@dataclass(frozen=True)
class Sampled:
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
    phrases: list[dict[str, Any]]
    seconds: dict[str, float] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)


class Stages(Protocol):
    """The four stages, wherever they run; each raises the typed errors of `choreo.errors`."""

    async def spec(self, model: str | None) -> ModelSpec:
        """Contract of the named model, or of the default one."""
        ...

    async def encode(self, job: Job, spec: ModelSpec) -> Conditioning:
        """Decode and encode song and prompt."""
        ...

    async def retrieve(self, job: Job, conditioning: Conditioning) -> Prior | None:
        """Motion prior from the phrase library, or None where there is nothing to start from."""
        ...

    async def sample(self, job: Job, conditioning: Conditioning, prior: Prior | None) -> Sampled:
        """Run the reverse process."""
        ...

    async def finish(self, job: Job, sampled: Sampled, meta: dict[str, Any]) -> tuple[Motion, NDArray[np.float32]]:
        """Features to finished motion, and the positions before the foot lock."""
        ...
