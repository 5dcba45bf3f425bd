"""Noise schedules in float64, and the algebra between x_t, x0 and eps.

Notation: alphas_cumprod[t] = prod_{s<=t} (1 - betas[s]). The index t = -1 stands for the noise-free end, where
alphas_cumprod is 1; every method accepts it, so a sampler needs no special case for its last step.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Rows = NDArray[np.integer]


class Prediction(StrEnum):
    """What a network's output means."""

    X0 = "x0"
    EPS = "eps"


class ScheduleName(StrEnum):
    """Noise schedules by name."""

    COSINE = "cosine"
    LINEAR = "linear"
    SCALED_LINEAR = "scaled_linear"
    COSINE_SQUARED = "cosine_squared"


MIN_ALPHA_BAR = 1e-9
"""What is left of the signal at the last step of `cosine_squared`: at 0 no noise could be told from x_t and x0."""


@dataclass(frozen=True)
class NoiseSchedule:
    """Variances of the forward process q(x_t | x0) = N(sqrt(abar_t) x0, (1 - abar_t) I), Ho et al. 2020 eq. 4."""

    betas: Array

    @classmethod
    def make(cls, name: ScheduleName | str = ScheduleName.COSINE, num_train_timesteps: int = 1000) -> "NoiseSchedule":
        """Build a named schedule.

        cosine: Nichol & Dhariwal 2021 eq. 17, s = 0.008, betas clipped at 0.999. linear: Ho et al. 2020, 1e-4..0.02
        scaled by 1000/T. scaled_linear: latent diffusion, linear in sqrt(beta) from 0.00085 to 0.012.
        cosine_squared: the text-to-motion lab's, abar = cos(pi u / 2)^2 at u = (t + 1) / T, which would end at 0 and
        ends at `MIN_ALPHA_BAR` (Chen 2023, algorithm 1, clips alike).
        """
        steps = num_train_timesteps
        match ScheduleName(name):
            case ScheduleName.COSINE:
                u = np.arange(steps + 1) / steps
                f = np.cos((u + 0.008) / 1.008 * np.pi / 2) ** 2
                betas = np.minimum(1 - f[1:] / f[:-1], 0.999)
            case ScheduleName.LINEAR:
                betas = np.linspace(1e-4, 0.02, steps) * (1000 / steps)
            case ScheduleName.SCALED_LINEAR:
                betas = np.linspace(0.00085**0.5, 0.012**0.5, steps) ** 2
            case ScheduleName.COSINE_SQUARED:
                f = np.maximum(np.cos(np.arange(steps + 1) / steps * np.pi / 2) ** 2, MIN_ALPHA_BAR)
                betas = 1 - f[1:] / f[:-1]
        return cls(betas)

    @property
    def num_train_timesteps(self) -> int:
        """T."""
        return len(self.betas)

    @property
    def alphas_cumprod(self) -> Array:
        """(T,) cumulative products, float64."""
        return np.cumprod(1 - self.betas)

    def alpha_bar(self, t: Rows) -> Array:
        """abar at rows t (B,), with abar_{-1} = 1."""
        return np.append(self.alphas_cumprod, 1.0)[np.asarray(t)]

    def log_snr(self, t: Rows) -> Array:
        """lambda = log(alpha / sigma) at rows t (B,), infinite at the noise-free end."""
        a = self.alpha_bar(t)
        with np.errstate(divide="ignore"):
            return np.asarray(0.5 * (np.log(a) - np.log1p(-a)))

    def to_x0(self, x_t: Array, t: Rows, eps: Array) -> Array:
        """x0 = (x_t - sqrt(1 - abar) eps) / sqrt(abar)."""
        a = per_row(self.alpha_bar(t), x_t)
        return (x_t - np.sqrt(1 - a) * eps) / np.sqrt(a)

    def predicted_x0(self, output: Array, x_t: Array, t: Rows, prediction: Prediction) -> Array:
        """x0 from a network's output, whatever it predicts."""
        return output if prediction is Prediction.X0 else self.to_x0(x_t, t, output)


def per_row(values: Array, like: NDArray[np.floating]) -> Array:
    """Per-row scalars (B,) shaped to broadcast over (B, ...)."""
    return np.asarray(values).reshape(-1, *([1] * (like.ndim - 1)))
