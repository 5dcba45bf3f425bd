"""The subjects of an evaluation: real motion, generated dances, and controls that a sound metric must rank apart."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.evaluation.motions import Motions
from choreo.evaluation.text_motion import TextMotionEncoder
from choreo.motion.clip import Motion
from choreo.motion.performance import Performance
from choreo.motion.skeleton import FPS
from serving.evaluation.dancers import Dance
from serving.evaluation.stretches import Positions, Stretch

NOISE_METRES: Final = 0.02
"""Standard deviation of the noise that the control `noise` adds to every joint of real motion."""

GENERATED: Final = "generated"
"""Subject of the dances of the generator that is evaluated."""

Beats = NDArray[np.float64]


@dataclass(frozen=True)
class Judge:
    """Pairs performances with the prompts and beats of the stretches that they were generated for.

    Attributes:
        stretches: one per performance.
        embedder: of motions and prompts; None leaves out the metrics that need one.
    """

    stretches: Sequence[Stretch]
    embedder: TextMotionEncoder | None

    def motions(self, name: str, performances: Sequence[Performance], beats: Sequence[Beats | None]) -> Motions:
        """A subject with everything that can be scored; every dancer of a performance is one motion.

        Args:
            name: of the subject.
            performances: one per stretch.
            beats: one per stretch, of the music that the performance is scored with.
        """
        motions = Motions.of_performances(name, performances, beats, [s.prompt for s in self.stretches])
        if self.embedder is None:
            return motions
        texts, rows = self.embedder.texts(motions.captions or ()), self.embedder.motions(motions.positions)
        return replace(motions, text_embeddings=unit(texts), motion_embeddings=unit(rows))

    @property
    def beats(self) -> list[Beats | None]:
        """Beats of each stretch's own music."""
        return [s.beats for s in self.stretches]

    @property
    def foreign_beats(self) -> list[Beats | None]:
        """Beats of the music of another stretch, for each stretch that has music; none where only one has."""
        beats = self.beats
        with_music = [i for i, b in enumerate(beats) if b is not None]
        if len(with_music) < 2:
            return [None] * len(beats)
        for i, j in zip(with_music, np.roll(with_music, len(with_music) // 2), strict=True):
            beats[i] = self.stretches[j].beats
        return beats


def real_and_controls(judge: Judge, seed: int = 0) -> Iterator[Motions]:
    """Subjects made of the held-out mocap.

    gt: the stretches. gt_shuffled: the same with the music of another stretch. noise: gt with jitter. mean_pose: gt
    standing still in its mean pose. frames_shuffled: the frames of gt in random order.
    """
    truth = [s.positions for s in judge.stretches]
    rng = np.random.default_rng(seed)
    yield judge.motions("gt", solos(truth), judge.beats)
    yield judge.motions("gt_shuffled", solos(truth), judge.foreign_beats)
    noisy = [(p + rng.normal(0, NOISE_METRES, p.shape)).astype(np.float32) for p in truth]
    yield judge.motions("noise", solos(noisy), judge.beats)
    still = [np.repeat(p.mean(0, keepdims=True), len(p), 0) for p in truth]
    yield judge.motions("mean_pose", solos(still), judge.beats)
    yield judge.motions("frames_shuffled", solos([rng.permutation(p) for p in truth]), judge.beats)


def danced(judge: Judge, dances: Sequence[Dance], name: str = GENERATED) -> Iterator[Motions]:
    """The dances, the same with the music of another stretch, and, if all are known, their motion priors.

    Args:
        name: of the first subject; the second is `shuffled` for `generated`, and `NAME, shuffled` for other names. Only
            the priors of `generated` are scored, because those of all generators come from one library.
    """
    performances = [d.performance for d in dances]
    yield judge.motions(name, performances, judge.beats)
    yield judge.motions("shuffled" if name == GENERATED else f"{name}, shuffled", performances, judge.foreign_beats)
    if name != GENERATED:
        return
    priors = [d.prior for d in dances if d.prior is not None]
    if len(priors) == len(dances):
        yield judge.motions("retrieval", solos(priors), judge.beats)


def solos(positions: Sequence[Positions]) -> list[Performance]:
    """Positions (T, 22, 3) at the model's frame rate as performances of one dancer."""
    return [Performance.solo(Motion(p, FPS)) for p in positions]


def unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows scaled to length 1, because the encoder was trained on cosines; Frechet distances are then STMC's "FID+"."""
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
