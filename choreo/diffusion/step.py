"""What a sampler is: reverse steps vectorised over rows at different timesteps."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from choreo.diffusion.schedule import NoiseSchedule
from choreo.diffusion.timesteps import Pairs

Array = NDArray[np.floating]


@dataclass(frozen=True)
class Before:
    """The step before this one: its predicted x0 (B, ...) and timestep t (B,); t = -1 for rows that had none."""

    x0: Array
    t: NDArray[np.integer]


class Sampler(Protocol):
    """One reverse step x_t -> x_{t_prev} for a batch of rows, each at its own timestep."""

    @property
    def name(self) -> str:
        """The name that `choreo.diffusion.samplers.sampler` knows."""
        ...

    @property
    def stochastic(self) -> bool:
        """Whether `step` adds noise."""
        ...

    @property
    def multistep(self) -> bool:
        """Whether `step` looks at the step before."""
        ...

    def timesteps(self, schedule: NoiseSchedule, num_inference_steps: int) -> Pairs:
        """(S, 2) pairs (t, t_prev) of a whole reverse process, from T - 1 down to -1.

        Raises:
            InvalidInput: more steps than the schedule has, or none.
        """
        ...

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
        """Advance rows (B, T, C) given the predicted x0; t and t_prev are (B,), t_prev = -1 emits x0."""
        ...
