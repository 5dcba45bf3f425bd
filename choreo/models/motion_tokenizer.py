"""The motion tokeniser: convolutions that halve the frame rate twice, a quantiser, and the way back.

The layout inside is (B, C, 1, T), as in the other networks over time.
"""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from choreo.models.layers import zero_init
from choreo.models.quantizers import FiniteScalarQuantizer, Quantizer, VectorQuantizer
from choreo.models.tokenizer_config import TOKEN_FRAMES, TokenizerConfig


class Reconstruction(NamedTuple):
    """A batch through the tokeniser: features (B, T, C), tokens (B, N), and the commitment, a scalar."""

    features: Tensor
    tokens: Tensor
    commitment: Tensor


class MotionTokenizer(nn.Module):
    """Normalised features (B, T, C) to tokens (B, T / 4) and back; T is a multiple of 4."""

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = TokenEncoder(config)
        self.quantizer: Quantizer = (
            VectorQuantizer(config.codebook_size, config.code_channels)
            if config.quantizer == "vq"
            else FiniteScalarQuantizer(config.levels)
        )
        self.decoder = TokenDecoder(config)

    def forward(self, features: Tensor, frame_mask: Tensor) -> Reconstruction:
        """Encode, quantise and decode; the mask (B, T) is 1 for frames that exist. The codebook learns in training."""
        mask = token_mask(frame_mask)
        made = self.quantizer(self.encoder(features * frame_mask[..., None]), mask)
        return Reconstruction(self.decoder(made.vectors * mask[..., None]), made.tokens, made.commitment)

    def encode(self, features: Tensor, frame_mask: Tensor) -> Tensor:
        """Tokens (B, N) of features (B, T, C); what is padding gives tokens of no meaning."""
        latents = self.encoder(features * frame_mask[..., None])
        return self.quantizer(latents, token_mask(frame_mask)).tokens

    def decode(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Features (B, 4 N, C) of tokens (B, N), of which those with a mask (B, N) of 0 are padding."""
        return self.decoder(self.quantizer.vectors(tokens) * mask[..., None])


class TokenEncoder(nn.Module):
    """Features to latents, a quarter of the rate."""

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        width = config.width
        self.first = _convolution(config.frame_channels, width)
        self.halvings = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(width, width, (1, 4), stride=(1, 2), padding=(0, 1)), residuals(width, config.dilations)
            )
            for _ in range(2)
        )
        self.last = _convolution(width, config.latent_channels)

    def forward(self, features: Tensor) -> Tensor:
        """(B, T, C) -> (B, T / 4, D)."""
        h = self.first(features.transpose(1, 2).unsqueeze(2))
        for halving in self.halvings:
            h = halving(h)
        return self.last(F.silu(h)).squeeze(2).transpose(1, 2)


class TokenDecoder(nn.Module):
    """Codes to features, four times the rate."""

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        width = config.width
        self.first = _convolution(config.latent_channels, width)
        self.stacks = nn.ModuleList(residuals(width, config.dilations) for _ in range(2))
        self.ups = nn.ModuleList(_convolution(width, width) for _ in range(2))
        self.last = nn.Sequential(
            nn.SiLU(), _convolution(width, width), nn.SiLU(), _convolution(width, config.frame_channels)
        )

    def forward(self, codes: Tensor) -> Tensor:
        """(B, N, D) -> (B, 4 N, C)."""
        h = self.first(codes.transpose(1, 2).unsqueeze(2))
        for stack, up in zip(self.stacks, self.ups, strict=True):
            h = up(F.interpolate(stack(h), scale_factor=(1.0, 2.0), mode="nearest"))
        return self.last(h).squeeze(2).transpose(1, 2)


class DilatedResidual(nn.Module):
    """x + conv1(silu(conv3(silu(x)))), which begins as the identity."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.wide = nn.Conv2d(width, width, (1, 3), padding=(0, dilation), dilation=(1, dilation))
        self.narrow = nn.Conv2d(width, width, (1, 1))
        zero_init(self.narrow)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, 1, T) -> (B, C, 1, T)."""
        return x + self.narrow(F.silu(self.wide(F.silu(x))))


def residuals(width: int, dilations: Sequence[int]) -> nn.Sequential:
    """Residual convolutions with these dilations, in order."""
    return nn.Sequential(*(DilatedResidual(width, dilation) for dilation in dilations))


def token_mask(frame_mask: Tensor) -> Tensor:
    """(B, N), 1 for tokens all of whose frames (B, T) exist."""
    return frame_mask.unflatten(1, (-1, TOKEN_FRAMES)).amin(dim=2)


def fingerprint(tokenizer: MotionTokenizer) -> str:
    """A hash of configuration and weights: tokens of two tokenisers mean the same only if theirs are equal.

    Weights are hashed in half precision, so that a checkpoint may be stored in it.
    """
    digest = hashlib.sha256(tokenizer.config.model_dump_json().encode())
    for name, value in sorted(tokenizer.state_dict().items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(value.detach().half().cpu().numpy()).tobytes())
    return digest.hexdigest()


def codes_in_use(tokens: Tensor, codes: int) -> tuple[int, float]:
    """How many codes some tokens (M,) use, and their perplexity: as many equally frequent codes have that entropy."""
    share = torch.bincount(tokens.flatten(), minlength=codes).double()
    share = share / share.sum().clamp(min=1)
    used = share[share > 0]
    return len(used), float(torch.exp(-(used * used.log()).sum()))


def _convolution(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, (1, 3), padding=(0, 1))
