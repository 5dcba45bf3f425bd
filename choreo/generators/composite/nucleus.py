"""Top-p sampling (Holtzman et al. 2020) with one uniform number, so that a token is a function of what it is given."""

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray


def sampled(
    logits: NDArray[np.floating],
    uniform: float,
    top_p: float = 0.9,
    temperature: float = 1.0,
    never: Collection[int] = (),
) -> int:
    """A token by its probability, among the likeliest whose probabilities sum to `top_p` or more.

    Args:
        logits: (V,), finite.
        uniform: in (0, 1).
        top_p: in (0, 1]; 1 allows every token.
        temperature: above 0; small ones approach the likeliest token.
        never: tokens that are not allowed.
    """
    scaled = np.asarray(logits, np.float64) / temperature
    scaled[list(never)] = -np.inf
    share = np.exp(scaled - scaled.max())
    share /= share.sum()
    order = np.argsort(-share, kind="stable")
    summed = np.cumsum(share[order])
    kept = int(np.searchsorted(summed, min(top_p, summed[-1]) - 1e-12)) + 1
    place = int(np.searchsorted(summed[:kept], uniform * summed[kept - 1], side="right"))
    return int(order[min(place, kept - 1)])
