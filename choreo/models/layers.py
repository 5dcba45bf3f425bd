"""Building blocks shared by the networks: attention and sinusoidal positions."""

import math
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MASKED: Final = -1e4
"""Added to the scores of keys that do not exist."""


def sinusoid(position: Tensor, dim: int, max_period: float = 10_000.0) -> Tensor:
    """Sinusoidal embedding (Vaswani et al. 2017) of real positions (...,) -> (..., dim); dim is even."""
    rates = torch.exp(-math.log(max_period) * torch.arange(dim // 2, device=position.device) / (dim // 2))
    angles = position.float()[..., None] * rates
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


def zero_init(layer: nn.Linear | nn.Conv2d) -> None:
    """Start a residual branch at zero, so that the block begins as the identity."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


class Attention(nn.Module):
    """Multi-head attention of queries (B, N, C) to keys (B, M, K), with a key mask and positions on both sides.

    Positions enter only queries and keys, so what is attended to depends on time and what is read does not.
    """

    def __init__(self, dim: int, num_heads: int, key_dim: int | None = None) -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"dim {dim} is not a multiple of num_heads {num_heads}")
        self.num_heads = num_heads
        key_dim = key_dim or dim
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(key_dim, dim)
        self.value = nn.Linear(key_dim, dim)
        self.output = nn.Linear(dim, dim)
        zero_init(self.output)

    def forward(self, x: Tensor, keys: Tensor, mask: Tensor, x_position: Tensor, key_position: Tensor) -> Tensor:
        """mask (B, M) is 1 for keys that exist; positions (N, C) and (M, K)."""
        q = self._split(self.query(x + x_position))
        k = self._split(self.key(keys + key_position))
        v = self._split(self.value(keys))
        bias = (1 - mask[:, None, None, :]) * MASKED
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return self.output(out.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.num_heads, -1)).transpose(1, 2)
