"""Reordering of what the dense search found, by how probably each phrase fits.

The embedded reranker reads more of a prompt than its cosine: whether the body moves as the words ask (fast, turning,
jumping, arms high). Each kind of question (text, music, motion) has a logistic model of its own, fitted by
`choreo bench fit_reranker`; a request that asks several takes the weighted geometric mean of their probabilities,
so that one scale, from 0 to 1, serves all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from retrieval.library.embedding import BLOCKS, PhraseColumns, Query, QueryEmbedder, Weights
from retrieval.library.library import Hit
from retrieval.library.phrases import Phrase
from retrieval.search.lexicon import stems, wanted_motion

Array = NDArray[np.float64]

FEATURES: Final = {
    "text": ("cosine", "quality"),
    "music": ("cosine",),
    "motion": ("cosine",),
}
"""Names of the features of each kind of question, in order; the more of each, the better."""


@dataclass(frozen=True)
class Scorer:
    """A logistic model: probability = sigmoid(intercept + coefficients . features)."""

    intercept: float
    coefficients: tuple[float, ...]

    def __call__(self, features: Array) -> Array:
        """Probabilities (n,) of features (n, F)."""
        logits = self.intercept + features @ np.asarray(self.coefficients)
        return 1 / (1 + np.exp(-np.clip(logits, -60, 60)))


SCORERS: Final[Mapping[str, Scorer]] = {
    "text": Scorer(intercept=-4.111, coefficients=(8.481, 0.997)),
    "music": Scorer(intercept=-7.174, coefficients=(13.221,)),
    "motion": Scorer(intercept=-4.038, coefficients=(5.774,)),
}
"""What `choreo bench fit_reranker --data ../shared/data` printed."""


class Reranker(Protocol):
    """Scores what was found for one query."""

    @property
    def name(self) -> str:
        """For reports."""

    def scores(self, query: Query, text: str, hits: Sequence[Hit]) -> Array:
        """Calibrated scores (n,) in [0, 1] of hits, the more the better; NaN never."""


class FeatureReranker:
    """The embedded default; see the module.

    Args:
        embedder: of the library that hits come from.
        scorers: one for each key of `FEATURES`.
    """

    name = "features"

    def __init__(self, embedder: QueryEmbedder, scorers: Mapping[str, Scorer] = SCORERS) -> None:
        self._embedder, self._scorers = embedder, scorers

    def scores(self, query: Query, text: str, hits: Sequence[Hit]) -> Array:
        """See `Reranker`."""
        return self.combined(query, text, hits, {})

    def combined(self, query: Query, text: str, hits: Sequence[Hit], given: Mapping[str, Array]) -> Array:
        """Scores (n,) with the probabilities (n,) of some kinds of question given by another model."""
        weights = _weights(self._embedder.config.weights)
        fitted = {
            kind: self._scorers[kind](columns)
            for kind, columns in self.features(query, text, hits).items()
            if kind not in given
        }
        answers = {**fitted, **given}
        total = sum(weights[kind] for kind in answers)
        logs = [weights[kind] / total * np.log(np.maximum(p, 1e-12)) for kind, p in answers.items()]
        return np.exp(np.sum(logs, axis=0)) if logs else np.zeros(len(hits))

    def features(self, query: Query, text: str, hits: Sequence[Hit]) -> dict[str, Array]:
        """Features (n, F) of each kind of question that the query asks."""
        phrases = [hit.phrase for hit in hits]
        if not phrases:
            return {}
        cosines = self._cosines(query, hits)
        out = {kind: column[:, None] for kind, column in cosines.items()}
        if "text" in out:
            out["text"] = np.stack([cosines["text"], self._quality(text, phrases)], axis=1)
        return out

    def _cosines(self, query: Query, hits: Sequence[Hit]) -> dict[str, Array]:
        """Cosine (n,) of each kind of question that is asked, 0 where the phrase lacks it.

        Text vectors of phrases are in the index only, so theirs follows from the whole similarity.
        """
        config = self._embedder.config
        asked = self._embedder.queries([query])
        blank = np.zeros((len(hits), config.text_dim))
        phrases = self._embedder.phrases(PhraseColumns.of([hit.phrase for hit in hits]), blank)
        found = np.nan_to_num(self._embedder.cosines(asked, phrases))
        weights = np.array([getattr(config.weights, name) * self._embedder.block(asked, name).any() for name in BLOCKS])
        kinds = {"text": slice(0, 1), "music": slice(1, -1), "motion": slice(-1, None)}
        if weights[0]:
            similarity = np.array([hit.similarity for hit in hits]) * weights.sum()
            found[:, 0] = np.clip((similarity - found @ weights) / weights[0], -1, 1)
        return {
            kind: found[:, part] @ weights[part] / weights[part].sum()
            for kind, part in kinds.items()
            if weights[part].any()
        }

    def _quality(self, text: str, phrases: Sequence[Phrase]) -> Array:
        """How far (n,) phrases move as the words ask, -1..1."""
        wanted = wanted_motion(stems(text))
        return np.tanh(self._embedder.z_stats([phrase.stats for phrase in phrases]) @ wanted / 2)


def _weights(weights: Weights) -> dict[str, float]:
    return {
        "text": weights.text,
        "music": weights.rhythm + weights.pattern + weights.timbre,
        "motion": weights.motion,
    }
