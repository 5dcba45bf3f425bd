"""DPM-Solver++(2M) (Lu et al. 2022, arXiv 2211.01095, algorithm 2), vectorised over rows.

Paper -> code: alpha_t -> sqrt(abar_t), sigma_t -> sqrt(1 - abar_t), lambda_t -> lam, x_theta -> x0.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from choreo.diffusion.schedule import NoiseSchedule, per_row
from choreo.diffusion.step import Before
from choreo.diffusion.timesteps import Pairs, even_in_log_snr

Array = NDArray[np.floating]
Rows = NDArray[np.integer]


@dataclass(frozen=True)
class DpmSolver2M:
    """Multistep of second order; of first order where a row has no step before this one, and on its last step.

    On the last step lambda is infinite, and the line through two predictions would be followed without end.
    """

    name: str = "dpm++2m"

    @property
    def stochastic(self) -> bool:
        """Never: it solves the ODE."""
        return False

    @property
    def multistep(self) -> bool:
        """Always: it looks at the prediction before."""
        return True

    def timesteps(self, schedule: NoiseSchedule, num_inference_steps: int) -> Pairs:
        """Evenly spaced in log-SNR."""
        return even_in_log_snr(num_inference_steps, schedule)

    def step(
        self,
        schedule: NoiseSchedule,
        x_t: Array,
        x0: Array,
        t: Rows,
        t_prev: Rows,
        noise: Array | None = None,
        before: Before | None = None,
    ) -> Array:
        """One step of rows (B, ...); rows with t_prev = -1 return x0 exactly."""
        now, prev = schedule.alpha_bar(t), schedule.alpha_bar(t_prev)
        last = np.asarray(t_prev) < 0
        h = schedule.log_snr(t_prev) - schedule.log_snr(t)
        direction = x0 if before is None else x0 + self._correction(schedule, x0, t, h, last, before)
        kept = np.sqrt((1 - prev) / (1 - now))
        out = per_row(kept, x_t) * x_t - per_row(np.sqrt(prev) * np.expm1(-h), x_t) * direction
        return out.astype(x_t.dtype)

    def _correction(
        self,
        schedule: NoiseSchedule,
        x0: Array,
        t: Rows,
        h: Array,
        last: NDArray[np.bool_],
        before: Before,
    ) -> Array:
        """(x0 - x0 before) / 2r with r = h before / h; zero for rows of first order."""
        first = np.asarray(before.t) < 0
        there = np.where(first, t, before.t)
        h_before = schedule.log_snr(t) - schedule.log_snr(there)
        plain = first | last
        slope = np.where(plain, 0.0, np.where(plain, 1.0, h) / (2 * np.where(plain, 1.0, h_before)))
        return np.asarray(per_row(slope, x0) * (x0 - before.x0))
