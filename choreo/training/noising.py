"""The forward process of a generator on its device, and what an error counts for at a noise level."""

from typing import Final

import numpy as np
import torch
from torch import Tensor

from choreo.diffusion.parameters import DiffusionParameters
from choreo.diffusion.schedule import Prediction
from choreo.generators.network import GeneratorNetwork
from choreo.training.losses import NoiseLevel

MIN_ERROR: Final = 3e-4
"""Squared error, of normalised features, below which less noise does not make errors count more."""


class Noising:
    """x_t of windows and back; timesteps t (B,) may be -1, the noise-free end."""

    def __init__(self, network: GeneratorNetwork) -> None:
        parameters = DiffusionParameters.of(network.spec)
        self.prediction, self._network = parameters.prediction, network
        self.num_train_timesteps = parameters.num_train_timesteps
        table = torch.from_numpy(np.append(parameters.noise_schedule().alphas_cumprod, 1.0))
        self._table = table.to(next(network.parameters()).device, torch.float32)

    def alphas_cumprod(self, t: Tensor) -> Tensor:
        """(B,) -> (B, 1, 1)."""
        return self._table[t][:, None, None]

    def noised(self, x0: Tensor, t: Tensor) -> Tensor:
        """x_t (B, T, C) with noise of torch's own generator."""
        a = self.alphas_cumprod(t)
        return a.sqrt() * x0 + (1 - a).sqrt() * torch.randn_like(x0)

    def x0(self, output: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """x0 from a network's output, whatever it predicts."""
        if self.prediction is Prediction.X0:
            return output
        a = self.alphas_cumprod(t)
        return (x_t - (1 - a).sqrt() * output) / a.sqrt().clamp(min=1e-3)

    def level(self, t: Tensor) -> NoiseLevel:
        """What errors of x0 count for at t."""
        a = self._table[t]
        error, velocity_error = self._network.expected_errors(a)
        return NoiseLevel(a, error.clamp(min=MIN_ERROR), velocity_error.clamp(min=MIN_ERROR))
