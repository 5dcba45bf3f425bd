"""Multistep consistency sampling (Song et al. 2023, algorithm 1; Luo et al. 2023, algorithm 3), vectorised over rows.

For distilled models, whose every evaluation is a whole dance: predict it, add noise again, and predict it from there.
Paper -> code: f(x, t) -> x0, tau_n -> t_prev, z -> noise.
"""

from dataclasses import dataclass

import numpy as np

from choreo.diffusion.schedule import NoiseSchedule
from choreo.diffusion.step import Rows, Sampler, Weights
from choreo.diffusion.timesteps import Pairs, parts_of_log_snr


@dataclass(frozen=True)
class Lcm(Sampler):
    """x_prev = sqrt(abar_prev) x0 + sqrt(1 - abar_prev) z: nothing of x_t is kept but what x0 has of it."""

    name: str = "lcm"

    @property
    def stochastic(self) -> bool:
        """Always; there is no noise on the last step."""
        return True

    def timesteps(self, schedule: NoiseSchedule, num_inference_steps: int) -> Pairs:
        """Where equal parts of the log-SNR begin."""
        return parts_of_log_snr(num_inference_steps, schedule)

    def weights(self, schedule: NoiseSchedule, t: Rows, t_prev: Rows, t_before: Rows) -> Weights:
        """Those of the forward process at t_prev."""
        prev = schedule.alpha_bar(t_prev)
        return Weights(0 * prev, np.sqrt(prev), 0 * prev, np.sqrt(1 - prev))
