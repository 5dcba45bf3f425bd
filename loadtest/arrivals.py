"""Arrival times of requests whose senders are independent of each other."""

import numpy as np
from numpy.typing import NDArray


def poisson(rate: float, seconds: float, seed: int) -> NDArray[np.float64]:
    """Arrival times of a Poisson process, ascending, in seconds from its start; a function of the arguments.

    The number of arrivals is drawn first; given the number, arrival times are independent and uniform.

    Args:
        rate: mean arrivals per second.
        seconds: length of the process.
        seed: seed of the random generator.
    """
    rng = np.random.default_rng(seed)
    return np.sort(rng.uniform(0, seconds, rng.poisson(rate * seconds)))
