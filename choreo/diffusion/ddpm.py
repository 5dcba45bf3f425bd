"""DDPM ancestral sampling (Ho et al. 2020) on any subset of timesteps, vectorised over rows."""

from dataclasses import dataclass

import numpy as np

from choreo.diffusion.schedule import NoiseSchedule
from choreo.diffusion.step import Rows, Sampler, Weights
from choreo.diffusion.timesteps import Pairs, uniform


@dataclass(frozen=True)
class Ddpm(Sampler):
    """Posterior q(x_prev | x_t, x0) of eq. 6-7, beta taken between the two timesteps (Nichol & Dhariwal)."""

    name: str = "ddpm"

    @property
    def stochastic(self) -> bool:
        """Always."""
        return True

    def timesteps(self, schedule: NoiseSchedule, num_inference_steps: int) -> Pairs:
        """Evenly spaced in t."""
        return uniform(num_inference_steps, schedule.num_train_timesteps)

    def weights(self, schedule: NoiseSchedule, t: Rows, t_prev: Rows, t_before: Rows) -> Weights:
        """The mean's of x_t and x0, and the standard deviation sqrt(beta tilde), which is zero at the end."""
        now, prev = schedule.alpha_bar(t), schedule.alpha_bar(t_prev)
        alpha = now / prev
        beta = 1 - alpha
        std = np.sqrt(beta * (1 - prev) / (1 - now))
        return Weights(np.sqrt(alpha) * (1 - prev) / (1 - now), np.sqrt(prev) * beta / (1 - now), 0 * now, std)
