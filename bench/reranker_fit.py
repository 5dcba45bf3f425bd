"""Fits the models of the reranker (`retrieval.search.rerank`) to candidates whose relevance is known.

A candidate is relevant if its take has the activity that is asked about, or its dance the genre of the song; the dance
that a song belongs to is never among the candidates.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from bench.phrase_pool import MemoryLibrary, Question
from retrieval.library.embedding import Query
from retrieval.search.finder import CANDIDATES
from retrieval.search.rerank import FeatureReranker, Scorer

Array = NDArray[np.float64]

RIDGE: Final = 1.0
"""Weight of the squared coefficients, in questions."""


@dataclass(frozen=True)
class Candidates:
    """Features (n, F) of the candidates of many questions, their relevance (n,) and their question's number (n,)."""

    features: Array
    right: NDArray[np.bool_]
    question: NDArray[np.int64]

    def of(self, questions: Sequence[int]) -> "Candidates":
        """The candidates of some questions."""
        some = np.isin(self.question, np.asarray(questions, np.int64))
        return Candidates(self.features[some], self.right[some], self.question[some])


def candidates_of(library: MemoryLibrary, kind: str, asked: Sequence[tuple[Question, Query, bool]]) -> Candidates:
    """The candidates that the dense search finds for questions.

    Args:
        kind: model of the reranker whose features are computed: text, music or motion.
        asked: question, its query, and whether phrases of the question's own groups are hidden.
    """
    reranker = FeatureReranker(library.embedder)
    features, right, numbers = [], [], []
    for number, (question, query, hide) in enumerate(asked):
        hits = library.search_many([query], CANDIDATES, hidden=question.groups if hide else ())[0]
        if not hits:
            continue
        features.append(reranker.features(query, question.text, hits)[kind])
        right.append([library.items[hit.phrase.first_row].activity in question.activities for hit in hits])
        numbers.append(np.full(len(hits), number))
    return Candidates(np.concatenate(features), np.concatenate(right), np.concatenate(numbers))


def text_candidates(
    library: MemoryLibrary, questions: Sequence[Question], vectors: Mapping[str, NDArray[np.float32]]
) -> Candidates:
    """Candidates for prompts."""
    return candidates_of(library, "text", [(q, Query(vectors[q.text]), False) for q in questions])


def fit(candidates: Candidates) -> Scorer:
    """Fit the order of candidates, then a scale on which scores are probabilities.

    The order is fitted to pairs of a relevant and an irrelevant candidate of one question (Burges et al. 2005), with
    equal weight for every question, and the scale to all candidates (Platt 1999). No coefficient is negative.
    """
    x, right = candidates.features, candidates.right
    coefficients = _ordering(x, right, candidates.question)
    slope, intercept = _platt(x @ coefficients, right)
    return Scorer(round(intercept, 3), tuple(round(float(slope * c), 3) + 0.0 for c in coefficients))


def _ordering(x: Array, right: NDArray[np.bool_], question: NDArray[np.int64]) -> Array:
    """Coefficients (F,) >= 0 of a logistic model of which of two candidates is relevant, with an L2 penalty."""
    pairs, shares = [], []
    for number in np.unique(question):
        of = question == number
        good, bad = x[of & right], x[of & ~right]
        if len(good) and len(bad):
            pairs.append((good[:, None] - bad[None]).reshape(-1, x.shape[1]))
            shares.append(np.full(len(pairs[-1]), 1 / len(pairs[-1])))
    difference, weight = np.concatenate(pairs), np.concatenate(shares)
    # The first feature, the cosine, is not penalised: without other evidence it decides the order.
    ridge = np.array([0.0] + [RIDGE] * (x.shape[1] - 1))

    def loss(coefficients: Array) -> tuple[float, Array]:
        margin = difference @ coefficients
        slope = weight / (1 + np.exp(np.clip(margin, -60, 60)))
        value = float((weight * np.logaddexp(0, -margin)).sum() + (ridge * coefficients**2).sum() / 2)
        return value, ridge * coefficients - slope @ difference

    return minimize(loss, np.ones(x.shape[1]), jac=True, method="L-BFGS-B", bounds=[(0.0, 50.0)] * x.shape[1]).x


def _platt(scores: Array, right: NDArray[np.bool_]) -> tuple[float, float]:
    """Slope > 0 and intercept of a logistic model of one score."""

    def loss(line: Array) -> tuple[float, Array]:
        logits = line[0] * scores + line[1]
        error = 1 / (1 + np.exp(-logits)) - right
        return float((np.logaddexp(0, logits) - right * logits).sum()), np.array([error @ scores, error.sum()])

    slope, intercept = minimize(
        loss, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=[(0.01, 50), (-50, 50)]
    ).x
    return float(slope), float(intercept)


def joined(parts: Sequence[Candidates]) -> Candidates:
    """All candidates of several sets, with distinct question numbers."""
    starts = np.cumsum([0, *(int(part.question.max(initial=-1)) + 1 for part in parts)])
    return Candidates(
        np.concatenate([part.features for part in parts]),
        np.concatenate([part.right for part in parts]),
        np.concatenate([part.question + start for part, start in zip(parts, starts, strict=False)]),
    )
