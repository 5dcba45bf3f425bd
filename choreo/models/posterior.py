"""The Gaussian that the encoder of a variational autoencoder gives (Kingma & Welling 2014)."""

from typing import NamedTuple

import torch
from torch import Tensor


class Posterior(NamedTuple):
    """A Gaussian over latents: mean and log-variance (B, N, D), not scaled."""

    mean: Tensor
    log_variance: Tensor

    def sample(self) -> Tensor:
        """Latents (B, N, D), by torch's own generator (Kingma & Welling 2014, eq. 4)."""
        return self.mean + torch.randn_like(self.mean) * (0.5 * self.log_variance).exp()

    def divergence(self) -> Tensor:
        """(B, N) Kullback-Leibler divergence from the standard normal, mean over the channels (ibid., appendix B)."""
        return 0.5 * (self.mean**2 + self.log_variance.exp() - 1 - self.log_variance).mean(dim=2)
