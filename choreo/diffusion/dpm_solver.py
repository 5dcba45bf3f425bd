"""DPM-Solver++(2M) (Lu et al. 2022, arXiv 2211.01095, algorithm 2), vectorised over rows.

Paper -> code: alpha_t -> sqrt(abar_t), sigma_t -> sqrt(1 - abar_t), lambda_t -> lam, x_theta -> x0.
"""

from dataclasses import dataclass

import numpy as np

from choreo.diffusion.schedule import NoiseSchedule
from choreo.diffusion.step import Array, Rows, Sampler, Weights
from choreo.diffusion.timesteps import Pairs, even_in_log_snr


@dataclass(frozen=True)
class DpmSolver2M(Sampler):
    """Multistep of second order; of first order where a row has no step before this one, and on its last step.

    On the last step lambda is infinite, and the line through two predictions would be followed without end.
    """

    name: str = "dpm++2m"

    @property
    def multistep(self) -> bool:
        """Always: it looks at the prediction before."""
        return True

    def timesteps(self, schedule: NoiseSchedule, num_inference_steps: int) -> Pairs:
        """Evenly spaced in log-SNR."""
        return even_in_log_snr(num_inference_steps, schedule)

    def weights(self, schedule: NoiseSchedule, t: Rows, t_prev: Rows, t_before: Rows) -> Weights:
        """x_prev = (sigma_prev / sigma) x_t - alpha_prev (e^-h - 1) (x0 + slope (x0 - x0 before))."""
        now, prev = schedule.alpha_bar(t), schedule.alpha_bar(t_prev)
        h = schedule.log_snr(t_prev) - schedule.log_snr(t)
        of_direction = -np.sqrt(prev) * np.expm1(-h)
        slope = _slope(schedule, t, t_prev, t_before, h)
        return Weights(
            np.sqrt((1 - prev) / (1 - now)), of_direction * (1 + slope), -of_direction * slope, np.zeros_like(now)
        )


def _slope(schedule: NoiseSchedule, t: Rows, t_prev: Rows, t_before: Rows, h: Array) -> Array:
    """1 / 2r with r = h before / h; zero for rows of first order."""
    plain = (t_before < 0) | (t_prev < 0)
    h_before = schedule.log_snr(t) - schedule.log_snr(np.where(t_before < 0, t, t_before))
    return np.where(plain, 0.0, np.where(plain, 1.0, h) / (2 * np.where(plain, 1.0, h_before)))
