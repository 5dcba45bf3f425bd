"""Reordering the results of the dense search by the probability that each phrase fits.

The default reranker reads more from a prompt than its cosine: whether the body moves as the words ask (fast, turning,
jumping, arms high). Each kind of query (text, music, motion) has its own logistic model, fitted by
`choreo bench fit_reranker`; a query of several kinds gets the weighted geometric mean of their probabilities, so
that all scores share one scale from 0 to 1.
"""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from retrieval.library.embedding import BLOCKS, PhraseColumns, Query, QueryEmbedder
from retrieval.library.library import Hit
from retrieval.search.lexicon import stems, wanted_motion

Array = NDArray[np.float64]

FEATURES: Final = {"text": ("cosine", "quality"), "music": ("cosine",), "motion": ("cosine",)}
"""Names of the features of each kind of query, in order; larger values mean a better fit."""
_KINDS: Final = {"text": slice(0, 1), "music": slice(1, -1), "motion": slice(-1, None)}
"""The embedding's blocks of each kind of query."""


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
"""Output of `choreo bench fit_reranker --data ../shared/data`."""


class Reranker(Protocol):
    """Scores the hits of one query."""

    def scores(self, query: Query, text: str, hits: Sequence[Hit]) -> Array:
        """Calibrated probabilities (n,) in [0, 1], never NaN, that the hits fit a query and its prompt `text`."""


class FeatureReranker:
    """The default reranker: logistic models of a few features.

    Args:
        embedder: of the library that hits come from.
        scorers: one for each key of `FEATURES`.
    """

    def __init__(self, embedder: QueryEmbedder, scorers: Mapping[str, Scorer] = SCORERS) -> None:
        self._embedder, self._scorers = embedder, scorers
        self._weights = np.array(astuple(embedder.config.weights))

    def scores(self, query: Query, text: str, hits: Sequence[Hit], given: Mapping[str, Array] = {}) -> Array:
        """Probabilities (n,) that the hits fit; another model may have `given` those of some kinds of query."""
        fitted = {
            kind: self._scorers[kind](columns)
            for kind, columns in self.features(query, text, hits).items()
            if kind not in given
        }
        answers = {**fitted, **given}
        weights = {kind: self._weights[_KINDS[kind]].sum() for kind in answers}
        total = sum(weights.values())
        logs = [weights[kind] / total * np.log(np.maximum(p, 1e-12)) for kind, p in answers.items()]
        return np.exp(np.sum(logs, axis=0)) if logs else np.zeros(len(hits))

    def features(self, query: Query, text: str, hits: Sequence[Hit]) -> dict[str, Array]:
        """Features (n, F), named in `FEATURES`, of each kind that the query has."""
        if not hits:
            return {}
        cosines = self._cosines(query, hits)
        out = {kind: column[:, None] for kind, column in cosines.items()}
        if "text" in out:
            out["text"] = np.stack([cosines["text"], self._quality(text, hits)], axis=1)
        return out

    def _cosines(self, query: Query, hits: Sequence[Hit]) -> dict[str, Array]:
        """Cosine (n,) of each kind that the query has, 0 where the phrase lacks it.

        Text vectors of phrases are only in the index, so their cosine is derived from the total similarity.
        """
        asked = self._embedder.queries([query])
        zeros = np.zeros((len(hits), self._embedder.config.text_dim))
        phrases = self._embedder.phrases(PhraseColumns.of([hit.phrase for hit in hits]), zeros)
        found = np.nan_to_num(self._embedder.cosines(asked, phrases))
        weights = self._weights * [self._embedder.block(asked, name).any() for name in BLOCKS]
        if weights[0]:
            similarity = np.array([hit.similarity for hit in hits]) * weights.sum()
            found[:, 0] = np.clip((similarity - found @ weights) / weights[0], -1, 1)
        return {
            kind: found[:, part] @ weights[part] / weights[part].sum()
            for kind, part in _KINDS.items()
            if weights[part].any()
        }

    def _quality(self, text: str, hits: Sequence[Hit]) -> Array:
        """How far (n,) phrases move as the words ask, -1 to 1."""
        wanted = wanted_motion(stems(text))
        return np.tanh(self._embedder.z_stats([hit.phrase.stats for hit in hits]) @ wanted / 2)
