"""Which timesteps a reverse process visits: pairs (t, t_prev) from T - 1 down to -1, the noise-free end."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.diffusion.schedule import NoiseSchedule
from choreo.errors import InvalidInput

Pairs = NDArray[np.int64]

LOG_SNR: Final = (-5.0, 2.5)
"""lambda = log(alpha / sigma) of the first step and of the last. Earlier there is nothing of a motion to be seen; later
only its jitter is: held-out mocap has the jerk of what is seen at 2.5, and half that of what comes out at 5."""


def uniform(num_inference_steps: int, num_train_timesteps: int) -> Pairs:
    """(S, 2) pairs evenly spaced in t: linspace(-1, T - 1, S + 1) reversed (EDGE, Tseng et al. 2023).

    The last t_prev is -1, so the last step emits x0.

    Raises:
        InvalidInput: S outside 1..T.
    """
    _check(num_inference_steps, num_train_timesteps)
    return _pairs(np.linspace(-1, num_train_timesteps - 1, num_inference_steps + 1).astype(np.int64)[::-1])


def even_in_log_snr(num_inference_steps: int, schedule: NoiseSchedule) -> Pairs:
    """(S, 2) pairs evenly spaced in lambda, within `LOG_SNR`: the variable that exponential solvers integrate over
    (Lu et al. 2022). The first t is T - 1 all the same: there x_t is the noise it starts from.

    Raises:
        InvalidInput: S outside 1..T.
    """
    _check(num_inference_steps, schedule.num_train_timesteps)
    return _at_log_snr(np.linspace(*LOG_SNR, num_inference_steps), schedule)


def parts_of_log_snr(num_inference_steps: int, schedule: NoiseSchedule) -> Pairs:
    """(S, 2) pairs, of which each begins one of S equal parts of `LOG_SNR`: for steps that each end in a whole motion.

    The first t is T - 1.

    Raises:
        InvalidInput: S outside 1..T.
    """
    _check(num_inference_steps, schedule.num_train_timesteps)
    return _at_log_snr(np.linspace(*LOG_SNR, num_inference_steps, endpoint=False), schedule)


def _at_log_snr(wanted: NDArray[np.floating], schedule: NoiseSchedule) -> Pairs:
    """Pairs whose t have about these log-SNR, the first aside."""
    steps, last = len(wanted), schedule.num_train_timesteps - 1
    t = np.arange(last, -1, -1)
    times = np.rint(np.interp(wanted, schedule.log_snr(t), t)).astype(np.int64)
    times[0] = last
    # Where steps are closer than timesteps: each its own, and as many below as there are steps to come.
    step = np.arange(steps)
    times = np.maximum(np.minimum.accumulate(times + step) - step, steps - 1 - step)
    return _pairs(np.append(times, -1))


def _check(steps: int, num_train_timesteps: int) -> None:
    if not 1 <= steps <= num_train_timesteps:
        raise InvalidInput("num_steps", f"must be between 1 and {num_train_timesteps}, got {steps}")


def _pairs(times: NDArray[np.int64]) -> Pairs:
    return np.stack([times[:-1], times[1:]], axis=1)
