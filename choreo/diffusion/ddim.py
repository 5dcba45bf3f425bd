"""DDIM (Song et al. 2021), vectorised over rows.

Paper -> code: alpha_t -> abar_t (their alpha is our alphas_cumprod), sigma_t -> sigma, eta -> eta.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from choreo.diffusion.schedule import NoiseSchedule, per_row
from choreo.diffusion.step import Before
from choreo.diffusion.timesteps import Pairs, uniform

Array = NDArray[np.floating]


@dataclass(frozen=True)
class Ddim:
    """eq. 12: x_prev = sqrt(abar_prev) x0 + sqrt(1 - abar_prev - sigma^2) eps + sigma z."""

    eta: float = 0.0
    name: str = "ddim"

    @property
    def stochastic(self) -> bool:
        """eta > 0."""
        return self.eta > 0

    @property
    def multistep(self) -> bool:
        """Never."""
        return False

    def timesteps(self, schedule: NoiseSchedule, num_inference_steps: int) -> Pairs:
        """Evenly spaced in t."""
        return uniform(num_inference_steps, schedule.num_train_timesteps)

    def step(
        self,
        schedule: NoiseSchedule,
        x_t: Array,
        x0: Array,
        t: NDArray[np.integer],
        t_prev: NDArray[np.integer],
        noise: Array | None = None,
        before: Before | None = None,
    ) -> Array:
        """One step of rows (B, ...); `noise` is needed when eta > 0. Rows with t_prev = -1 return x0 exactly."""
        now, prev = per_row(schedule.alpha_bar(t), x_t), per_row(schedule.alpha_bar(t_prev), x_t)
        sigma = self.eta * np.sqrt((1 - prev) / (1 - now)) * np.sqrt(1 - now / prev)  # eq. 16
        eps = (x_t - np.sqrt(now) * x0) / np.sqrt(1 - now)
        out = np.sqrt(prev) * x0 + np.sqrt(np.maximum(1 - prev - sigma**2, 0)) * eps
        if self.stochastic:
            if noise is None:
                raise ValueError("DDIM with eta > 0 needs noise")
            out = out + sigma * noise
        return out.astype(x_t.dtype)
