"""Whether a motion can be told by its text, and a text by its motion, among others: R-precision, MM-Dist, R@k."""

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
"""Texts whose (cos + 1) / 2 exceeds this count as one (TMR's threshold protocol)."""


@dataclass(frozen=True)
class RPrecision:
    """Retrieval of motions by text within pools.

    Attributes:
        top: share of texts whose motion is among the nearest 1, 2, ... of its pool, in the order of `tops`.
        mm_distance: MM-Dist, mean Euclidean distance of a text and its own motion, over all pairs.
        pools: how many pools were filled.
        n: pairs in them; what is left over is not ranked.
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

    A pool never holds one caption twice: the published code allows it and then counts a right answer as wrong. Motions
    at equal distance share the mean of their ranks, so that an embedding that has collapsed scores as chance does.

    Args:
        text: (N, D) embeddings.
        motion: (N, D) embeddings of the motions of those texts.
        captions: the N texts; without them all count as different.
        pool: pairs in a pool.
        tops: cut-offs.
        seed: of the assignment to pools.
    Returns:
        None where not one pool can be filled.
    Raises:
        InvalidInput: broken sets, or different shapes.
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

    Without `sentences` this is their protocol "normal"; with them "threshold", which takes any motion whose text means
    the same for right. Their "small batches" (pools of 32) is `r_precision`.

    Args:
        text: (N, D) embeddings.
        motion: (N, D) embeddings of the motions of those texts.
        tops: cut-offs.
        sentences: (N, E) embeddings of the texts by a sentence encoder that knows nothing of motion.
        threshold: (cos + 1) / 2 of two sentences beyond which they mean the same.
    Returns:
        Shares for each cut-off, text to motion, then motion to text.
    Raises:
        InvalidInput: broken sets, or different numbers of rows.
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
    """Full pools of rows in random order, each row in the first open pool without its caption."""
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
    """Rank from 0 of the nearest right answer in each row; the right one is on the diagonal, or where `same` is."""
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
