"""What a sampler is: reverse steps vectorised over rows at different timesteps.

Every sampler here is linear in what it has: x_prev = w_x x_t + w_x0 x0 + w_before x0_before + w_noise z, with weights
that are functions of the timesteps alone. A sampler says what they are; applying them is done in one place, and a
server works them out once per request and not at every step.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from choreo.diffusion.schedule import NoiseSchedule, per_row
from choreo.diffusion.timesteps import Pairs

Array = NDArray[np.floating]
Rows = NDArray[np.integer]


@dataclass(frozen=True)
class Before:
    """The step before this one: its predicted x0 (B, ...) and timestep t (B,); t = -1 for rows that had none."""

    x0: Array
    t: Rows


@dataclass(frozen=True)
class Weights:
    """Of one step per row, each (B,) float64. Where t_prev = -1 they are 0, 1, 0, 0: the step returns x0 exactly."""

    x: Array
    x0: Array
    before: Array
    noise: Array


class Sampler(ABC):
    """One reverse step x_t -> x_{t_prev} for a batch of rows, each at its own timestep."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The name that `choreo.diffusion.samplers.sampler` knows."""

    @property
    def stochastic(self) -> bool:
        """Whether a step adds noise."""
        return False

    @property
    def multistep(self) -> bool:
        """Whether a step looks at the step before."""
        return False

    @abstractmethod
    def timesteps(self, schedule: NoiseSchedule, num_inference_steps: int) -> Pairs:
        """(S, 2) pairs (t, t_prev) of a whole reverse process, from T - 1 down to -1.

        Raises:
            InvalidInput: more steps than the schedule has, or none.
        """

    @abstractmethod
    def weights(self, schedule: NoiseSchedule, t: Rows, t_prev: Rows, t_before: Rows) -> Weights:
        """Of steps from t to t_prev, each (B,); t_before is the step before's timestep, -1 where there was none."""

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
        """Advance rows (B, ...) given the predicted x0, in the precision of x_t; t and t_prev are (B,).

        Raises:
            ValueError: the sampler is stochastic, and there is no noise.
        """
        none = np.full(len(x_t), -1)
        weights = self.weights(schedule, np.asarray(t), np.asarray(t_prev), none if before is None else before.t)
        out = _rows(weights.x, x_t) * x_t + _rows(weights.x0, x_t) * x0
        if self.multistep and before is not None:
            out = out + _rows(weights.before, x_t) * before.x0
        if self.stochastic:
            if noise is None:
                raise ValueError(f"{self.name} needs noise")
            out = out + _rows(weights.noise, x_t) * noise
        return np.asarray(out, x_t.dtype)


def _rows(weights: Array, like: Array) -> Array:
    return per_row(weights, like).astype(like.dtype)
