"""The sampler interface and the registry: reverse steps vectorised over rows at different timesteps."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from choreo.diffusion.ddim import Ddim
from choreo.diffusion.ddpm import Ddpm
from choreo.diffusion.schedule import NoiseSchedule
from choreo.errors import InvalidInput

Array = NDArray[np.floating]


class Sampler(Protocol):
    """One reverse step x_t -> x_{t_prev} for a batch of rows, each at its own timestep."""

    @property
    def name(self) -> str:
        """The name that `sampler` knows."""
        ...

    @property
    def stochastic(self) -> bool:
        """Whether `step` adds noise."""
        ...

    def step(
        self,
        schedule: NoiseSchedule,
        x_t: Array,
        x0: Array,
        t: NDArray[np.integer],
        t_prev: NDArray[np.integer],
        noise: Array | None,
    ) -> Array:
        """Advance rows (B, T, C) given the predicted x0; t and t_prev are (B,), t_prev = -1 emits x0."""
        ...


SAMPLERS = ("ddim", "ddpm")


def sampler(name: str) -> Sampler:
    """Sampler by name.

    Raises:
        InvalidInput: unknown name.
    """
    match name:
        case "ddim":
            return Ddim()
        case "ddpm":
            return Ddpm()
    raise InvalidInput("sampler", f"must be one of {', '.join(SAMPLERS)}, got {name!r}")
