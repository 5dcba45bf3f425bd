"""The motion VAE: one-dimensional convolutions that halve the frame rate twice, and latent tokens of a stretch each.

There is no normalisation over time, so that a token depends only on the frames around it: windows that share tokens are
encoded and decoded alike away from their ends. The layout inside is (B, C, 1, T), as in the U-Net.
"""

from itertools import pairwise
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from choreo.generators.latent.config import DILATIONS, VaeConfig
from choreo.generators.latent.graphs import PATCH
from choreo.models.layers import zero_init
from choreo.models.posterior import Posterior

LOG_VARIANCE: Final = (-12.0, 6.0)
"""Range of the posterior's log-variance."""


class MotionEncoder(nn.Module):
    """Normalised features, of which maybe only a part is known -> the posterior of the latents."""

    def __init__(self, config: VaeConfig) -> None:
        super().__init__()
        width, stride = config.width, config.window // (2 * PATCH) // config.tokens
        self.first = _down(2 * config.frame_channels, width)
        self.fine = Residual(width)
        self.second = _down(width, width)
        self.coarse = nn.Sequential(*(Residual(width, dilation) for dilation in DILATIONS))
        self.tokens = nn.Conv2d(width, 2 * config.channels, (1, stride), stride=(1, stride))

    def forward(self, features: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Features and mask (B, T, C), 1 where they are known -> mean and log-variance (B, N, D)."""
        h = torch.cat([features * mask, mask], dim=2).transpose(1, 2).unsqueeze(2)
        h = self.coarse(self.second(self.fine(self.first(h))))
        out = self.tokens(F.silu(h)).squeeze(2).transpose(1, 2)
        mean, log_variance = out.chunk(2, dim=2)
        return mean, log_variance.clamp(*LOG_VARIANCE)


class MotionDecoder(nn.Module):
    """Latents -> normalised features, by convolutions."""

    def __init__(self, config: VaeConfig) -> None:
        super().__init__()
        width = config.width
        self.positions = config.window // (2 * PATCH) // config.tokens
        self.tokens = nn.Linear(config.channels, width * self.positions)
        self.coarse = nn.Sequential(*(Residual(width, dilation) for dilation in DILATIONS))
        self.up = nn.Conv2d(width, width, (1, 3), padding=(0, 1))
        self.fine = Residual(width)
        self.output = nn.Conv2d(width, config.frame_channels * PATCH, (1, 3), padding=(0, 1))

    def forward(self, latents: Tensor) -> Tensor:
        """(B, N, D) of any N -> (B, N * frames of a token, C)."""
        h = self.tokens(latents).unflatten(2, (self.positions, -1)).flatten(1, 2).transpose(1, 2).unsqueeze(2)
        h = self.up(F.interpolate(self.coarse(h), scale_factor=(1.0, 2.0), mode="nearest"))
        out = self.output(F.silu(self.fine(h)))
        return out.squeeze(2).transpose(1, 2).unflatten(2, (PATCH, -1)).flatten(1, 2)


class MlpDecoder(nn.Module):
    """Latents -> normalised features, by layers over the whole window with LayerNorm and GELU."""

    def __init__(self, config: VaeConfig) -> None:
        super().__init__()
        sizes = (config.tokens * config.channels, 2 * config.width, 4 * config.width)
        layers = [nn.Sequential(nn.Linear(a, b), nn.LayerNorm(b), nn.GELU()) for a, b in pairwise(sizes)]
        self.layers = nn.Sequential(*layers, nn.Linear(sizes[-1], config.window * config.frame_channels))
        self.frame_channels = config.frame_channels

    def forward(self, latents: Tensor) -> Tensor:
        """(B, N, D) -> (B, T, C)."""
        return self.layers(latents.flatten(1)).unflatten(1, (-1, self.frame_channels))


class Residual(nn.Module):
    """x + conv1(silu(conv3(silu(x)))), which begins as the identity."""

    def __init__(self, width: int, dilation: int = 1) -> None:
        super().__init__()
        self.wide = nn.Conv2d(width, width, (1, 3), padding=(0, dilation), dilation=(1, dilation))
        self.narrow = nn.Conv2d(width, width, (1, 1))
        zero_init(self.narrow)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, 1, T) -> (B, C, 1, T)."""
        return x + self.narrow(F.silu(self.wide(F.silu(x))))


class Reconstruction(NamedTuple):
    """What the VAE makes of a batch: features (B, T, C) and posteriors (B, N, D).

    Attributes:
        whole: of latents of the whole motion.
        given: of the mean latents of the part that is given.
        posterior: of the latents of the whole motion.
        given_posterior: of those of the given part.
    """

    whole: Tensor
    given: Tensor
    posterior: Posterior
    given_posterior: Posterior


class MotionVae(nn.Module):
    """Encoder and decoder, as they are trained."""

    def __init__(self, config: VaeConfig) -> None:
        super().__init__()
        self.encoder, self.decoder = MotionEncoder(config), make_decoder(config)

    def forward(self, features: Tensor, mask: Tensor, known_mask: Tensor) -> Reconstruction:
        """Encode and decode the whole of motions (B, T, C) and the given part; masks (B, T, C).

        Latents of the whole are drawn from the posterior in training, and are its mean otherwise.
        """
        posterior = Posterior(*self.encoder(features, mask))
        given = Posterior(*self.encoder(features, known_mask))
        latents = posterior.sample() if self.training else posterior.mean
        return Reconstruction(self.decoder(latents), self.decoder(given.mean), posterior, given)


def make_decoder(config: VaeConfig) -> MotionDecoder | MlpDecoder:
    """A decoder of the kind that is configured, with new weights."""
    return MlpDecoder(config) if config.decoder == "mlp" else MotionDecoder(config)


def _down(inputs: int, width: int) -> nn.Conv2d:
    """Half the rate."""
    return nn.Conv2d(inputs, width, (1, 4), stride=(1, 2), padding=(0, 1))
