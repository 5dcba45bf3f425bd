"""Which of several dances to the same song and prompt is the best one.

Scores alone push towards bodies that hardly move: a dancer who stands still slides nowhere. So only those count whose
kinetic energy is near the median of all.
"""

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from choreo.errors import InvalidArtifact, MissingDependency
from choreo.evaluation.beat_alignment import beat_alignment_score
from choreo.evaluation.kinematics import kinetic_energy
from choreo.motion.foot_skating import foot_skating_ratio
from choreo.motion.performance import Performance
from choreo.motion.skeleton import FPS, WINDOW
from serving.pipeline.results import SampleScore

if TYPE_CHECKING:
    from choreo.evaluation.text_motion import TextMotionEncoder

ENERGY: Final = (0.7, 1.3)
"""Kinetic energy of the dances that are considered, as a share of the median of all."""
SPREAD: Final = {"beats": 0.12, "skating": 0.07, "text": 0.17}
"""Differences of scores that count alike: their standard deviations between seeds of one request (bench.on_beat)."""
MIN_FRAMES: Final = 30
"""A shorter rest of a motion is not compared with the prompt."""
DIGITS: Final = 4


class TextScores:
    """How well motions fit a prompt, by the text-motion encoder of a folder, which is loaded at its first use.

    Pickled, it is the folder alone.

    Args:
        folder: of the encoder; None: there is none, and nothing is measured.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder, self._lock = folder, threading.Lock()
        self._encoder: TextMotionEncoder | None = None
        self._sentence: tuple[str, NDArray[np.float32]] | None = None

    def __reduce__(self) -> tuple[type["TextScores"], tuple[Path | None]]:
        return TextScores, (self._folder,)

    def similarity(self, positions: NDArray[np.floating], text: str) -> float | None:
        """Mean cosine similarity of the windows of a motion (T, 22, 3) at 30 fps with a sentence. Blocking.

        None for a motion of one frame, and where encoder or sentence encoder are not on this machine.
        """
        windows = [positions[first : first + WINDOW] for first in range(0, len(positions), WINDOW)]
        windows = windows[:1] + [window for window in windows[1:] if len(window) >= MIN_FRAMES]
        if len(windows[0]) < 2:
            return None
        with self._lock:  # loaded once, and torch has the cores to itself
            encoder = self._loaded()
            if encoder is None:
                return None
            if self._sentence is None or self._sentence[0] != text:  # samples of a request come one after the other
                self._sentence = text, encoder.texts([text])[0]
            motions, sentence = encoder.motions(windows), self._sentence[1]
        lengths = np.linalg.norm(motions, axis=1) * np.linalg.norm(sentence)
        return float((motions @ sentence / np.maximum(lengths, 1e-9)).mean())

    def _loaded(self) -> "TextMotionEncoder | None":
        if self._encoder is None and self._folder is not None:
            try:
                from choreo.evaluation.text_motion import TextMotionEncoder  # loads torch

                self._encoder = TextMotionEncoder.load(self._folder)
            except (MissingDependency, InvalidArtifact, ImportError):
                self._folder = None
        return self._encoder


def score(seed: int, performance: Performance, beats: ArrayLike, text: str | None, texts: TextScores) -> SampleScore:
    """Measure one finished dance; several dancers count as their mean. Blocking.

    Args:
        beats: sure ones of the song, seconds from the first frame.
        text: the prompt.
    """
    dancers, fps = [dancer.positions for dancer in performance.dancers], performance.fps
    on_beat = [beat_alignment_score(dancer, beats, fps) for dancer in dancers]
    fitting = [texts.similarity(dancer, text) for dancer in dancers] if text and fps == FPS else []
    found = {
        "beats": _mean(on_beat),
        "skating": _mean([foot_skating_ratio(dancer, fps) for dancer in dancers]),
        "text": _mean(fitting),
    }
    total = sum(_SIGN[name] * value / SPREAD[name] for name, value in found.items() if value is not None)
    energy = float(np.mean([kinetic_energy(dancer, fps) for dancer in dancers]))
    beat, skating, similarity = (None if value is None else round(value, DIGITS) for value in found.values())
    return SampleScore(seed, beat, skating or 0.0, similarity, round(energy, DIGITS), round(total, DIGITS))


def choose(scores: Sequence[SampleScore]) -> list[SampleScore]:
    """The scores, of which the best one with an energy near the median of all is `chosen`.

    Where no energy is near the median, as can be with an even number, all are considered.
    """
    median = float(np.median([each.energy for each in scores]))
    near = [ENERGY[0] * median <= each.energy <= ENERGY[1] * median for each in scores]
    considered = [i for i in range(len(scores)) if near[i]] or range(len(scores))
    best = max(considered, key=lambda i: scores[i].total)  # the first of equals
    return [replace(each, admitted=near[i], chosen=i == best) for i, each in enumerate(scores)]


_SIGN: Final = {"beats": 1, "skating": -1, "text": 1}


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
