"""TMR score: how close a motion is to its text in a joint embedding. Two definitions go by this name."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from choreo.evaluation.checks import Array, paired


def tmr_score_stmc(text: NDArray[Any], motion: NDArray[Any]) -> float:
    """Mean of (cos + 1) / 2 (Petrovich et al. 2024, "STMC"): unrelated pairs score about 0.5.

    Args:
        text: (N, D) embeddings.
        motion: (N, D) embeddings of the motions of those texts.
    Raises:
        InvalidInput: unusable sets, or different shapes.
    """
    return float((_cosines(text, motion).mean() + 1) / 2)


def tmr_score_clipped(text: NDArray[Any], motion: NDArray[Any]) -> float:
    """max(0, mean cos), as CLIP score (Hessel et al. 2021) and DIRECTOR report it: unrelated pairs score about 0.

    Args:
        text: (N, D) embeddings.
        motion: (N, D) embeddings of the motions of those texts.
    Raises:
        InvalidInput: unusable sets, or different shapes.
    """
    return float(max(0.0, _cosines(text, motion).mean()))


def _cosines(text: NDArray[Any], motion: NDArray[Any]) -> Array:
    """Cosine (N,) of each pair; 0 if one of the two is zero."""
    texts, motions = paired(text, motion)
    lengths = np.linalg.norm(texts, axis=1) * np.linalg.norm(motions, axis=1)
    products = (texts * motions).sum(axis=1)
    return np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)
