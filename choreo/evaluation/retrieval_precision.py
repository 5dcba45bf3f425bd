"""Retrieval of motions by their text and of texts by their motion: R-precision, MM-Dist, R@k."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from choreo.errors import InvalidInput
from choreo.evaluation.checks import Array, feature_set, paired

POOL: Final = 32
TOPS: Final = (1, 2, 3)
RECALLS: Final = (1, 2, 3, 5, 10)
SAME_TEXT: Final = 0.95
"""Texts whose (cos + 1) / 2 exceeds this count as equal (TMR's threshold protocol)."""


@dataclass(frozen=True)
class RPrecision:
    """Retrieval of motions by text within pools.

    Attributes:
        top: share of texts whose motion is among the k nearest of its pool, for each k of `tops`.
        mm_distance: MM-Dist, mean Euclidean distance between a text and its own motion, over all pairs.
        pools: number of complete pools.
        n: pairs in complete pools; the others are not ranked.
    """

    top: tuple[float, ...]
    mm_distance: float
    pools: int
    n: int


def r_precision(
    text: NDArray[Any],
    motion: NDArray[Any],
    captions: Sequence[str] | None = None,
    pool: int = POOL,
    tops: Sequence[int] = TOPS,
    seed: int = 0,
) -> RPrecision | None:
    """R-precision by Euclidean distance in random pools (Guo et al. 2022).

    A pool never contains a caption twice: the published code allows it and then counts a correct answer as wrong.
    Motions at equal distance share the mean of their ranks, so that a collapsed embedding scores as chance.

    Args:
        text: (N, D) embeddings.
        motion: (N, D) embeddings of the motions of those texts.
        captions: the N texts; without them all count as different.
        pool: number of pairs in a pool.
        tops: cut-offs.
        seed: of the assignment to pools.
    Returns:
        None if not even one pool can be filled.
    Raises:
        InvalidInput: unusable sets, or different shapes.
    """
    texts, motions = paired(text, motion)
    if pool < 2:
        raise InvalidInput("pool", f"must be at least 2, got {pool}")
    pools = _pools(len(texts), captions, pool, np.random.default_rng(seed))
    if not pools:
        return None
    ranks = np.concatenate([_ranks(cdist(texts[rows], motions[rows])) for rows in pools])
    distance = np.linalg.norm(texts - motions, axis=1).mean()
    return RPrecision(_within(ranks, tops), float(distance), len(pools), len(ranks))


def recall_at(
    text: NDArray[Any],
    motion: NDArray[Any],
    tops: Sequence[int] = RECALLS,
    sentences: NDArray[Any] | None = None,
    threshold: float = SAME_TEXT,
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """R@k text to motion and motion to text by cosine over the whole set (Petrovich et al. 2023, "TMR").

    Without `sentences` this is their protocol "normal"; with them "threshold", which accepts any motion whose text
    means the same. Their protocol "small batches" (pools of 32) is `r_precision`.

    Args:
        text: (N, D) embeddings.
        motion: (N, D) embeddings of the motions of those texts.
        tops: cut-offs.
        sentences: (N, E) embeddings of the texts by a sentence encoder that was not trained on motion.
        threshold: (cos + 1) / 2 of two sentences above which they count as equal in meaning.
    Returns:
        Shares per cut-off: text to motion, then motion to text.
    Raises:
        InvalidInput: unusable sets, or different numbers of rows.
    """
    texts, motions = paired(text, motion)
    distance = -_unit(texts) @ _unit(motions).T
    same = np.eye(len(texts), dtype=bool)
    if sentences is not None:
        meaning = _unit(feature_set(sentences, "sentences"))
        if len(meaning) != len(texts):
            raise InvalidInput("sentences", f"must hold {len(texts)} rows, got {len(meaning)}")
        same |= meaning @ meaning.T > 2 * threshold - 1
    return _within(_ranks(distance, same), tops), _within(_ranks(distance.T, same), tops)


def _pools(n: int, captions: Sequence[str] | None, size: int, rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """Complete pools of rows in random order, each row in the first incomplete pool without its caption."""
    if captions is not None and len(captions) != n:
        raise InvalidInput("captions", f"must hold one caption for each of {n} pairs, got {len(captions)}")
    full, waiting = [], list[dict[object, int]]()
    for row in rng.permutation(n):
        caption = row if captions is None else " ".join(captions[row].casefold().split())
        place = next((held for held in waiting if caption not in held), None)
        if place is None:
            place = {}
            waiting.append(place)
        place[caption] = int(row)
        if len(place) == size:
            full.append(np.array(list(place.values()), np.int64))
            waiting.remove(place)
    return full


def _ranks(distance: Array, same: NDArray[np.bool_] | None = None) -> Array:
    """Rank, from 0, of the nearest correct answer in each row; correct is the diagonal, or where `same` is True."""
    right = np.diag(distance) if same is None else np.where(same, distance, np.inf).min(axis=1)
    ahead = (distance < right[:, None]).sum(axis=1)
    others = ~np.eye(len(distance), dtype=bool) if same is None else ~same
    level = ((distance == right[:, None]) & others).sum(axis=1)
    return np.asarray(ahead + level / 2)


def _within(ranks: Array, tops: Sequence[int]) -> tuple[float, ...]:
    return tuple(float((ranks < top).mean()) for top in tops)


def _unit(values: Array) -> Array:
    length = np.linalg.norm(values, axis=1, keepdims=True)
    return values / np.where(length > 0, length, 1)
