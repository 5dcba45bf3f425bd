"""How well a text-motion encoder retrieves held-out pairs: what chooses the step of a run, and stands in the card."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from choreo.data.windows.captioned import CaptionedMotion
from choreo.evaluation.retrieval_precision import POOL, TOPS, r_precision
from choreo.evaluation.text_motion import encode_features, encode_sentences
from choreo.models.tmr import TextMotionModel
from choreo.text.encoders import TextEncoder

DRAWS = 20
"""Assignments to pools that are averaged."""
WAYS = ("text_to_motion", "motion_to_text")


@dataclass(frozen=True)
class HeldOutRetrieval:
    """Pairs that retrieval is scored on, with the embeddings (N, E) of their sentences."""

    pairs: Sequence[CaptionedMotion]
    embeddings: NDArray[np.float32]

    @classmethod
    def of(cls, pairs: Sequence[CaptionedMotion], encoder: TextEncoder) -> "HeldOutRetrieval":
        """Encode the sentences of pairs."""
        return cls(pairs, encoder.encode([pair.sentence for pair in pairs]))

    def scores(self, model: TextMotionModel) -> dict[str, float]:
        """R@1, 2, 3 by cosine, with what chance would score.

        `full/`: over the whole set (`full_recall`). `pool/`: in pools of 32 with 32 different sentences; left out where
        there are not that many.
        """
        motions = _unit(encode_features(model, [pair.features for pair in self.pairs]))
        texts = _unit(encode_sentences(model, self.embeddings))
        sentences = [pair.sentence for pair in self.pairs]
        scores = {f"full/{name}": value for name, value in full_recall(texts, motions, sentences).items()}
        for way, (asked, answers) in zip(WAYS, ((texts, motions), (motions, texts)), strict=True):
            draws = [r_precision(asked, answers, sentences, seed=seed) for seed in range(DRAWS)]
            tops = [draw.top for draw in draws if draw is not None]
            if tops:
                scores |= {f"pool/{way}@{k}": float(v) for k, v in zip(TOPS, np.mean(tops, axis=0), strict=True)}
                scores |= {f"pool/chance@{k}": k / POOL for k in TOPS}
        return scores


def full_recall(texts: NDArray[np.float32], motions: NDArray[np.float32], sentences: Sequence[str]) -> dict[str, float]:
    """R@1, 2, 3 over a whole set of unit latents (N, L) in which sentences repeat.

    Text to motion: each different sentence once, right when a motion that carries it is among the first k. Motion to
    text: each motion, right when its sentence is among the first k different ones. Each with the share that random
    order would reach.
    """
    numbers = {sentence: i for i, sentence in enumerate(dict.fromkeys(sentences))}
    number = np.array([numbers[sentence] for sentence in sentences])
    different, counts = np.unique(number, return_index=True)[1], np.bincount(number)
    similarity = texts[different] @ motions.T
    own = number == np.arange(len(counts))[:, None]
    best = np.where(own, similarity, -np.inf).max(axis=1)
    paired = similarity[number, np.arange(len(number))]
    # Ties count against the pair: an encoder that has collapsed must not score.
    ahead = ((similarity >= best[:, None]) & ~own).sum(axis=1), ((similarity >= paired) & ~own).sum(axis=0)
    out = {}
    for k in TOPS:
        drawn = min(k, len(number))
        missed = [math.comb(len(number) - c, drawn) / math.comb(len(number), drawn) for c in counts]
        chances = (1 - float(np.mean(missed)), min(k / len(counts), 1.0))
        for way, rank, chance in zip(WAYS, ahead, chances, strict=True):
            out[f"{way}@{k}"] = float((rank < k).mean())
            out[f"{way}_chance@{k}"] = chance
    return out


def selection_score(scores: Mapping[str, float]) -> float:
    """Mean R@1, 2, 3 both ways, in pools where there are any."""
    kind = "pool" if f"pool/{WAYS[0]}@{TOPS[0]}" in scores else "full"
    return float(np.mean([scores[f"{kind}/{way}@{k}"] for way in WAYS for k in TOPS]))


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of length 1, so that the Euclidean order of R-precision is that of the cosine."""
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12), np.float32)
