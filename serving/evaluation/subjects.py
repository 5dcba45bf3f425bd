"""Who is scored in an evaluation: real motion, dances, and controls that a sound metric must tell from both."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.evaluation.motions import Motions
from choreo.evaluation.text_motion import TextMotionEncoder
from choreo.motion.skeleton import FPS
from serving.evaluation.dancers import Dance
from serving.evaluation.stretches import Positions, Stretch

NOISE_METRES: Final = 0.02
"""Standard deviation of what the control `noise` adds to every joint of real motion."""


Beats = NDArray[np.float64]


@dataclass(frozen=True)
class Judge:
    """Puts motions beside the prompts and beats of the stretches that they were danced to.

    Attributes:
        stretches: one for each motion.
        embedder: of motions and prompts; None: metrics that need one are left out.
    """

    stretches: Sequence[Stretch]
    embedder: TextMotionEncoder | None

    def motions(
        self, name: str, positions: Sequence[Positions], beats: Sequence[NDArray[np.float64] | None]
    ) -> Motions:
        """A subject with everything that can be scored."""
        prompts = [s.prompt for s in self.stretches]
        if self.embedder is None:
            return Motions(name, positions, FPS, beats, prompts)
        texts, rows = self.embedder.texts(prompts), self.embedder.motions(positions)
        return Motions(name, positions, FPS, beats, prompts, unit(texts), unit(rows))

    @property
    def beats(self) -> list[Beats | None]:
        """Of each stretch's own music."""
        return [s.beats for s in self.stretches]

    @property
    def foreign_beats(self) -> list[Beats | None]:
        """Of the music of another stretch, for each one that has any."""
        beats = self.beats
        heard = [i for i, b in enumerate(beats) if b is not None]
        for i, j in zip(heard, np.roll(heard, len(heard) // 2), strict=True):
            beats[i] = self.stretches[j].beats
        return beats


def real_and_controls(judge: Judge, seed: int = 0) -> Iterator[Motions]:
    """gt: the stretches; gt_shuffled: heard with other music; noise: gt with jitter; mean_pose: gt standing in the mean
    of its poses; frames_shuffled: the frames of gt in random order."""
    truth = [s.positions for s in judge.stretches]
    rng = np.random.default_rng(seed)
    yield judge.motions("gt", truth, judge.beats)
    yield judge.motions("gt_shuffled", truth, judge.foreign_beats)
    noisy = [(p + rng.normal(0, NOISE_METRES, p.shape)).astype(np.float32) for p in truth]
    yield judge.motions("noise", noisy, judge.beats)
    yield judge.motions("mean_pose", [np.repeat(p.mean(0, keepdims=True), len(p), 0) for p in truth], judge.beats)
    yield judge.motions("frames_shuffled", [rng.permutation(p) for p in truth], judge.beats)


def danced(judge: Judge, dances: Sequence[Dance], name: str = "generated") -> Iterator[Motions]:
    """The dances, the same heard with other music, and where all are known, the priors that they began from."""
    positions = [d.positions for d in dances]
    yield judge.motions(name, positions, judge.beats)
    yield judge.motions("shuffled", positions, judge.foreign_beats)
    priors = [d.prior for d in dances if d.prior is not None]
    if len(priors) == len(dances):
        yield judge.motions("retrieval", priors, judge.beats)


def unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of length 1: the encoder was trained on cosines; distances of distributions are STMC's "FID+" then."""
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
