"""When requests arrive at a service whose callers know nothing of each other."""

import numpy as np
from numpy.typing import NDArray


def poisson(rate: float, seconds: float, seed: int) -> NDArray[np.float64]:
    """Arrivals of a Poisson process, ascending, seconds from its start; the same for the same arguments.

    Their number is drawn first: given it, the arrivals are independent and uniform over the time.

    Args:
        rate: mean arrivals per second.
        seconds: length of the process.
        seed: of the draw.
    """
    rng = np.random.default_rng(seed)
    return np.sort(rng.uniform(0, seconds, rng.poisson(rate * seconds)))
