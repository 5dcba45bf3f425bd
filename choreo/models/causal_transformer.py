"""A causal transformer over vectors, whole sequences at once or a vector at a time with a cache.

Attention is banded: a vector sees itself and the `context` ones before it, so that a sequence of any length has a cache
of one size. Positions turn queries and keys (RoPE, Su et al. 2021), so that only distances count, and a cached key
stays what it was wherever in the cache it lies.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from choreo.models.layers import MASKED, zero_init

BASE = 10_000.0
"""Of the wavelengths of the rotations."""


class CausalTransformer(nn.Module):
    """Vectors (B, N, W) to vectors (B, N, W), each a function of itself and the `context` before it."""

    def __init__(self, width: int, layers: int, num_heads: int, context: int, dropout: float = 0.0) -> None:
        super().__init__()
        if width % (2 * num_heads):
            raise ValueError(f"width {width} is not a multiple of twice the {num_heads} heads")
        self.width, self.context, self.head = width, context, width // num_heads
        self.blocks = nn.ModuleList(CausalBlock(width, num_heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """Whole sequences (B, N, W)."""
        position = torch.arange(x.shape[1], device=x.device)
        turn = rotations(position.float(), self.head)
        distance = position[:, None] - position[None]
        bias = torch.where((distance >= 0) & (distance <= self.context), 0.0, MASKED)
        for block in self.blocks:
            x = block(x, turn, bias)
        return self.norm(x)

    def step(self, x: Tensor, position: Tensor, cache: Tensor, cache_mask: Tensor) -> tuple[Tensor, Tensor]:
        """The next vector of sequences.

        Args:
            x: (B, W).
            position: (B, 1) of it, counted from 0.
            cache: (B, 2 layers, context, W) keys and values of vectors before it, in any order.
            cache_mask: (B, context), 1 for entries that exist.

        Returns:
            (B, W), and what is to be cached of it, (B, 2 layers, W).
        """
        x = x[:, None]
        turn = rotations(position, self.head)
        bias = F.pad((1 - cache_mask) * MASKED, (0, 1))[:, None, None]
        entries = []
        for layer, block in enumerate(self.blocks):
            assert isinstance(block, CausalBlock)
            x, key, value = block.step(x, turn, bias, cache[:, 2 * layer], cache[:, 2 * layer + 1])
            entries += [key, value]
        return self.norm(x)[:, 0], torch.cat(entries, dim=1)


class CausalBlock(nn.Module):
    """Self-attention and a feed-forward layer, both residual and normalised before."""

    def __init__(self, width: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)
        last = nn.Linear(4 * width, width)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Dropout(dropout), last
        )
        zero_init(self.output)
        zero_init(last)

    def forward(self, x: Tensor, turn: tuple[Tensor, Tensor], bias: Tensor) -> Tensor:
        """x (B, N, W); `turn` of `rotations` for N positions; bias (N, N) of the scores."""
        query, key, value = self._heads(x, turn)
        return self._finish(x, query, key, value, bias)

    def step(
        self, x: Tensor, turn: tuple[Tensor, Tensor], bias: Tensor, keys: Tensor, values: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """x (B, 1, W) after cached keys and values (B, S, W); bias (B, 1, 1, S + 1).

        Returns:
            (B, 1, W), and the key and the value of x, each (B, 1, W).
        """
        query, key, value = self._heads(x, turn)
        every = torch.cat([self._split(keys), key], dim=2), torch.cat([self._split(values), value], dim=2)
        out = self._finish(x, query, *every, bias)
        return out, key.transpose(1, 2).flatten(2), value.transpose(1, 2).flatten(2)

    def _heads(self, x: Tensor, turn: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values (B, H, N, D), the first two turned to their positions."""
        query, key, value = self.query_key_value(self.norm(x)).chunk(3, dim=2)
        return turned(self._split(query), turn), turned(self._split(key), turn), self._split(value)

    def _finish(self, x: Tensor, query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
        read = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        x = x + self.dropout(self.output(read.transpose(1, 2).flatten(2)))
        return x + self.dropout(self.feed_forward(x))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.num_heads, -1)).transpose(1, 2)


def rotations(position: Tensor, head: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines of positions (N,) as (N, head / 2), or of (B, 1) as (B, 1, 1, head / 2)."""
    rates = BASE ** -(torch.arange(0, head, 2, device=position.device) / head)
    angles = position[..., None] * rates
    angles = angles[:, None] if position.dim() > 1 else angles
    return angles.cos(), angles.sin()


def turned(x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """x (B, H, N, D), its halves as real and imaginary parts turned by angles."""
    (cos, sin), (a, b) = turn, x.chunk(2, dim=3)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=3)
