"""Quantisers: latent vectors to tokens and back, by a learned codebook or by a grid.

Both pass gradients straight through: the quantised vector is z + (q - z), where the bracket has no gradient.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

RARELY: Final = 0.25
"""Share of its fair part of a batch below which a code counts as dead; codes that are hit once a step never do."""


class Quantized(NamedTuple):
    """What a quantiser makes of latents (B, N, D).

    Attributes:
        vectors: (B, N, D), with the latents' gradient.
        tokens: (B, N) int64.
        commitment: mean squared distance of the latents from their codes, a scalar; 0 for a grid.
    """

    vectors: Tensor
    tokens: Tensor
    commitment: Tensor


class Quantizer(nn.Module):
    """Latents to tokens and back."""

    @abstractmethod
    def quantize(self, latents: Tensor, mask: Tensor) -> Quantized:
        """Quantise latents (B, N, D) of which those with a mask (B, N) of 0 are padding; learns in training mode."""

    @abstractmethod
    def vectors(self, tokens: Tensor) -> Tensor:
        """Codes (..., D) of tokens (...)."""

    def forward(self, latents: Tensor, mask: Tensor) -> Quantized:
        """As `quantize`."""
        return self.quantize(latents, mask)


class VectorQuantizer(Quantizer):
    """A codebook that follows the latents by moving averages (van den Oord et al. 2017, appendix A.1).

    A code is the mean of the latents that chose it, sums and counts both decayed by `decay`. The codes begin as latents
    of the first batch with a count of 1 each, and a code that is hardly chosen any more becomes a latent of the present
    batch (T2M-GPT, Zhang et al. 2023). So every code is a weighted mean of latents and never longer than the longest of
    them; with counts that begin at 0, codes without hits would be divided by next to nothing and fly away.
    """

    codebook: Tensor
    counts: Tensor
    sums: Tensor
    begun: Tensor

    def __init__(self, codes: int, channels: int, decay: float = 0.99) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("codebook", torch.zeros(codes, channels))
        self.register_buffer("counts", torch.ones(codes))
        self.register_buffer("sums", torch.zeros(codes, channels))
        self.register_buffer("begun", torch.zeros((), dtype=torch.bool))

    def quantize(self, latents: Tensor, mask: Tensor) -> Quantized:
        """Nearest codes; in training mode the codebook learns first from what is not padding."""
        real = latents.detach()[mask > 0]
        if self.training and len(real):
            if not self.begun:
                self._begin(real)
            self._follow(real)
        tokens = self.nearest(latents.detach())
        codes = self.vectors(tokens)
        away = (latents - codes).square().mean(dim=-1)
        commitment = (away * mask).sum() / mask.sum().clamp(min=1)
        return Quantized(latents + (codes - latents).detach(), tokens, commitment)

    def nearest(self, latents: Tensor) -> Tensor:
        """Tokens (...) of the codes nearest to latents (..., D)."""
        distance = self.codebook.square().sum(dim=1) - 2 * latents @ self.codebook.T
        return distance.argmin(dim=-1)

    def vectors(self, tokens: Tensor) -> Tensor:
        """Codes (..., D) of tokens (...)."""
        return self.codebook[tokens]

    @torch.no_grad()
    def _begin(self, real: Tensor) -> None:
        self._put(torch.arange(len(self.codebook), device=real.device), real)
        self.begun.fill_(True)

    @torch.no_grad()
    def _follow(self, real: Tensor) -> None:
        """Move the codes to the latents (M, D) that choose them, and give dead ones a new place."""
        tokens = self.nearest(real)
        hits = torch.zeros_like(self.counts).index_add_(0, tokens, torch.ones_like(real[:, 0]))
        total = torch.zeros_like(self.sums).index_add_(0, tokens, real)
        self.counts.lerp_(hits, 1 - self.decay)
        self.sums.lerp_(total, 1 - self.decay)
        dead = self.counts < min(1.0, RARELY * len(real) / len(self.counts))
        self.codebook.copy_(torch.where(dead[:, None], self.codebook, self.sums / self.counts[:, None].clamp(min=1e-9)))
        self._put(dead.nonzero()[:, 0], real)

    def _put(self, codes: Tensor, real: Tensor) -> None:
        """Make latents of a batch, drawn at random, of some codes."""
        chosen = real[torch.randint(len(real), (len(codes),), device=real.device)]
        self.codebook[codes], self.sums[codes], self.counts[codes] = chosen, chosen, 1.0


class FiniteScalarQuantizer(Quantizer):
    """A grid: every number is squashed and rounded to one of its levels (Mentzer et al. 2024, "FSQ", section 3.1).

    It needs no commitment and no codebook that learns; the number of a token counts in mixed radix.
    """

    levels: Tensor
    radix: Tensor

    def __init__(self, levels: Sequence[int]) -> None:
        super().__init__()
        sizes = torch.tensor(levels)
        self.register_buffer("levels", sizes, persistent=False)
        self.register_buffer("radix", torch.cumprod(torch.cat([sizes.new_ones(1), sizes[:-1]]), 0), persistent=False)

    def quantize(self, latents: Tensor, mask: Tensor) -> Quantized:
        """Nearest points of the grid."""
        bounded = self._bounded(latents)
        steps = bounded + (bounded.round() - bounded).detach()
        whole = steps.detach().round().long() + self.levels // 2
        return Quantized(steps / (self.levels // 2), (whole * self.radix).sum(dim=-1), latents.new_zeros(()))

    def vectors(self, tokens: Tensor) -> Tensor:
        """Points (..., D) of tokens (...), each number from -1 to 1."""
        whole = torch.div(tokens[..., None], self.radix, rounding_mode="floor") % self.levels
        half = self.levels // 2
        return (whole - half) / half

    def _bounded(self, z: Tensor) -> Tensor:
        """Squash so that rounding gives whole numbers from -(L // 2) to (L - 1) // 2, L of them."""
        half = (self.levels - 1) * (1 + 1e-3) / 2
        offset = torch.where(self.levels % 2 == 1, 0.0, 0.5)
        shift = torch.atanh(offset / half)
        return (z + shift).tanh() * half - offset
