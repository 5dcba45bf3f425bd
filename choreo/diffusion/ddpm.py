"""DDPM ancestral sampling (Ho et al. 2020) on any subset of timesteps, vectorised over rows."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from choreo.diffusion.schedule import NoiseSchedule, per_row
from choreo.diffusion.step import Before
from choreo.diffusion.timesteps import Pairs, uniform

Array = NDArray[np.floating]


@dataclass(frozen=True)
class Ddpm:
    """Posterior q(x_prev | x_t, x0) of eq. 6-7, beta taken between the two timesteps (Nichol & Dhariwal)."""

    name: str = "ddpm"

    @property
    def stochastic(self) -> bool:
        """Always."""
        return True

    @property
    def multistep(self) -> bool:
        """Never."""
        return False

    def timesteps(self, schedule: NoiseSchedule, num_inference_steps: int) -> Pairs:
        """Evenly spaced in t."""
        return uniform(num_inference_steps, schedule.num_train_timesteps)

    def posterior(
        self, schedule: NoiseSchedule, t: NDArray[np.integer], t_prev: NDArray[np.integer]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Coefficients (B,) of x0 and of x_t in the mean, and the standard deviation sqrt(beta tilde)."""
        now, prev = schedule.alpha_bar(t), schedule.alpha_bar(t_prev)
        alpha = now / prev
        beta = 1 - alpha
        std = np.sqrt(beta * (1 - prev) / (1 - now))
        return np.sqrt(prev) * beta / (1 - now), np.sqrt(alpha) * (1 - prev) / (1 - now), std

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
        """One step of rows (B, ...). Rows with t_prev = -1 return x0 exactly: beta tilde is zero there."""
        if noise is None:
            raise ValueError("DDPM needs noise")
        c0, ct, std = (per_row(c, x_t) for c in self.posterior(schedule, t, t_prev))
        return (c0 * x0 + ct * x_t + std * noise).astype(x_t.dtype)
