"""DDIM (Song et al. 2021), vectorised over rows.

Paper -> code: alpha_t -> abar_t (their alpha is our alphas_cumprod), sigma_t -> sigma, eta -> eta.
"""

from dataclasses import dataclass

import numpy as np

from choreo.diffusion.schedule import NoiseSchedule
from choreo.diffusion.step import Rows, Sampler, Weights
from choreo.diffusion.timesteps import Pairs, uniform


@dataclass(frozen=True)
class Ddim(Sampler):
    """eq. 12: x_prev = sqrt(abar_prev) x0 + sqrt(1 - abar_prev - sigma^2) eps + sigma z."""

    eta: float = 0.0
    name: str = "ddim"

    @property
    def stochastic(self) -> bool:
        """eta > 0."""
        return self.eta > 0

    def timesteps(self, schedule: NoiseSchedule, num_inference_steps: int) -> Pairs:
        """Evenly spaced in t."""
        return uniform(num_inference_steps, schedule.num_train_timesteps)

    def weights(self, schedule: NoiseSchedule, t: Rows, t_prev: Rows, t_before: Rows) -> Weights:
        """With eps = (x_t - sqrt(abar) x0) / sqrt(1 - abar) put in; sigma is eq. 16."""
        now, prev = schedule.alpha_bar(t), schedule.alpha_bar(t_prev)
        sigma = self.eta * np.sqrt((1 - prev) / (1 - now)) * np.sqrt(1 - now / prev)
        of_x = np.sqrt(np.maximum(1 - prev - sigma**2, 0) / (1 - now))
        return Weights(of_x, np.sqrt(prev) - of_x * np.sqrt(now), np.zeros_like(now), sigma)
