"""Fit the embedded reranker: `python -m bench.fit_reranker --data ../shared/data` prints `SCORERS` of retrieval/rerank.

Only training groups are read. A phrase is right if its take has the activity that is asked about, or its dance the
genre of the song; the dance a song is from is never among the candidates.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from bench.phrase_pool import Item, MemoryLibrary, PhrasePool, Question, encoded, read_pool
from choreo.data.layouts.packs import is_validation
from choreo.text.encoders import TextEncoder, text_encoder
from retrieval.library.embedding import Query
from retrieval.search.finder import CANDIDATES
from retrieval.search.rerank import FeatureReranker, Scorer

Array = NDArray[np.float64]

RIDGE: Final = 1.0
"""Weight of the squared coefficients, in questions."""


@dataclass(frozen=True)
class Rows:
    """Candidates (n, F) of many questions with what is right (n,) and the number of the question (n,)."""

    features: Array
    right: NDArray[np.bool_]
    question: NDArray[np.int64]

    def of(self, questions: Sequence[int]) -> "Rows":
        """Those of some questions."""
        some = np.isin(self.question, np.asarray(questions, np.int64))
        return Rows(self.features[some], self.right[some], self.question[some])


def text_rows(
    library: MemoryLibrary, questions: Sequence[Question], vectors: Mapping[str, NDArray[np.float32]]
) -> Rows:
    """Candidates for prompts."""
    return _rows(library, "text", [(q, Query(vectors[q.text]), False) for q in questions])


def song_rows(library: MemoryLibrary, questions: Sequence[Question]) -> Rows:
    """Candidates for songs, none from the dance of the song."""
    return _rows(library, "music", [(q, Query(music=q.music), True) for q in questions])


def motion_rows(library: MemoryLibrary, items: Sequence[Item]) -> Rows:
    """Candidates for motion statistics; right are phrases of the same activity in other takes."""
    asked = [Question("", None, frozenset([i.group]), frozenset([i.activity])) for i in items]
    queries = [Query(stats=item.phrase.stats) for item in items]
    return _rows(library, "motion", [(q, query, True) for q, query in zip(asked, queries, strict=True)])


def fit(rows: Rows) -> Scorer:
    """Coefficients that order candidates best, then a scale on which they are probabilities.

    The order is fitted to pairs of a right and a wrong candidate of one question (Burges et al. 2005), every question
    counting once, and the scale to all candidates (Platt 1999). No coefficient is negative.
    """
    x, right = rows.features, rows.right
    coefficients = _ordering(x, right, rows.question)
    slope, intercept = _platt(x @ coefficients, right)
    return Scorer(round(intercept, 3), tuple(round(float(slope * c), 3) + 0.0 for c in coefficients))


def _ordering(x: Array, right: NDArray[np.bool_], question: NDArray[np.int64]) -> Array:
    """Coefficients (F,) >= 0 of the logistic model of which one of two candidates is right, with a ridge."""
    pairs, shares = [], []
    for number in np.unique(question):
        of = question == number
        good, bad = x[of & right], x[of & ~right]
        if len(good) and len(bad):
            pairs.append((good[:, None] - bad[None]).reshape(-1, x.shape[1]))
            shares.append(np.full(len(pairs[-1]), 1 / len(pairs[-1])))
    difference, weight = np.concatenate(pairs), np.concatenate(shares)
    # Without evidence for anything else the order stays that of the cosine, the first feature.
    ridge = np.array([0.0] + [RIDGE] * (x.shape[1] - 1))

    def loss(coefficients: Array) -> tuple[float, Array]:
        margin = difference @ coefficients
        slope = weight / (1 + np.exp(np.clip(margin, -60, 60)))
        value = float((weight * np.logaddexp(0, -margin)).sum() + (ridge * coefficients**2).sum() / 2)
        return value, ridge * coefficients - slope @ difference

    return minimize(loss, np.ones(x.shape[1]), jac=True, method="L-BFGS-B", bounds=[(0.0, 50.0)] * x.shape[1]).x


def _platt(scores: Array, right: NDArray[np.bool_]) -> tuple[float, float]:
    """Slope > 0 and intercept of the logistic model of one score."""

    def loss(line: Array) -> tuple[float, Array]:
        logits = line[0] * scores + line[1]
        error = 1 / (1 + np.exp(-logits)) - right
        return float((np.logaddexp(0, logits) - right * logits).sum()), np.array([error @ scores, error.sum()])

    slope, intercept = minimize(
        loss, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=[(0.01, 50), (-50, 50)]
    ).x
    return float(slope), float(intercept)


def training_part(pool: PhrasePool) -> PhrasePool:
    """The pool without anything of held-out groups."""
    return PhrasePool(
        [item for item in pool.items if not is_validation(item.group)],
        [item for item in pool.bare if not is_validation(item.group)],
        *(
            [q for q in questions if not any(map(is_validation, q.groups))]
            for questions in (pool.captions, pool.descriptions, pool.songs)
        ),
    )


def fit_all(pool: PhrasePool, encoder: TextEncoder) -> dict[str, Scorer]:
    """A scorer of each kind, from the training groups."""
    train = training_part(pool)
    texts = sorted({question.text for question in train.descriptions})
    vectors = dict(zip(texts, encoder.encode(texts), strict=True))
    told = MemoryLibrary(train.items, encoded(train.items, encoder), encoder)
    bare = MemoryLibrary(train.bare, encoded(train.bare, encoder), encoder)
    text = [text_rows(told, train.captions, vectors), text_rows(bare, train.descriptions, vectors)]
    return {
        "text": fit(joined(text)),
        "music": fit(song_rows(told, train.songs)),
        "motion": fit(motion_rows(told, train.items[::5])),
    }


def joined(parts: Sequence[Rows]) -> Rows:
    """All candidates; questions are numbered on."""
    starts = np.cumsum([0, *(int(part.question.max(initial=-1)) + 1 for part in parts)])
    return Rows(
        np.concatenate([part.features for part in parts]),
        np.concatenate([part.right for part in parts]),
        np.concatenate([part.question + start for part, start in zip(parts, starts, strict=False)]),
    )


def _rows(library: MemoryLibrary, kind: str, asked: Sequence[tuple[Question, Query, bool]]) -> Rows:
    reranker = FeatureReranker(library.embedder)
    features, right, numbers = [], [], []
    for number, (question, query, hide) in enumerate(asked):
        hits = library.search_many([query], CANDIDATES, hidden=question.groups if hide else ())[0]
        if not hits:
            continue
        features.append(reranker.features(query, question.text, hits)[kind])
        right.append([library.items[hit.phrase.first_row].activity in question.activities for hit in hits])
        numbers.append(np.full(len(hits), number))
    return Rows(np.concatenate(features), np.concatenate(right), np.concatenate(numbers))


def main(argv: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="bench.fit_reranker", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data pack")
    arguments = parser.parse_args(argv)
    pool = read_pool(arguments.data, lambda key: print(key, end=" ", file=sys.stderr, flush=True))
    for kind, scorer in fit_all(pool, text_encoder("minilm")).items():
        print(f'    "{kind}": {scorer},')
    return 0


if __name__ == "__main__":
    sys.exit(main())
