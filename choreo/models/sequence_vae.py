"""A variational autoencoder of sequences with one latent a frame, which sees nothing of the future."""

from typing import Final

import torch
from torch import Tensor, nn

from choreo.models.causal import CausalAttention, CausalConvolution, Positions
from choreo.models.posterior import Posterior

LOG_VARIANCE: Final = (-12.0, 6.0)
"""Range of the posterior's log-variance."""


class SequenceVae(nn.Module):
    """Positions, attention and an LSTM of two layers to the posterior; an LSTM of two layers and a convolution back."""

    def __init__(self, inputs: int, outputs: int, width: int, heads: int, latent: int, units: int) -> None:
        """A network for frames of `inputs` numbers.

        Args:
            inputs: numbers of a frame.
            outputs: numbers of a frame of what it gives.
            width: of the attention.
            heads: of the attention.
            latent: numbers of a latent.
            units: of the LSTMs.
        """
        super().__init__()
        self.latent = latent
        self.input, self.positions = nn.Linear(inputs, width), Positions(width)
        self.attention, self.norm = CausalAttention(width, heads), nn.LayerNorm(width)
        self.encoder = nn.LSTM(width, units, 2, batch_first=True)
        self.posterior = nn.Linear(units, 2 * latent)
        self.decoder = nn.LSTM(latent, units, 2, batch_first=True)
        self.output = CausalConvolution(units, outputs)

    def encode(self, x: Tensor) -> Posterior:
        """(B, T, I) -> posterior of latents (B, T, D)."""
        h = self.positions(self.input(x))
        h = self.norm(h + self.attention(h, h))
        mean, log_variance = self.posterior(self.encoder(h)[0]).chunk(2, dim=2)
        return Posterior(mean, log_variance.clamp(*LOG_VARIANCE))

    def decode(self, latents: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, O)."""
        return self.output(self.decoder(latents)[0])

    def forward(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Posterior]:
        """What latents drawn with standard normal `noise` (B, T, D) decode to, (B, T, O), and their posterior."""
        posterior = self.encode(x)
        return self.decode(posterior.mean + noise * (0.5 * posterior.log_variance).exp()), posterior


def divergence(posteriors: list[Posterior]) -> Tensor:
    """Mean Kullback-Leibler divergence of latents from the standard normal, summed over autoencoders."""
    return torch.stack([posterior.divergence().mean() for posterior in posteriors]).sum()
