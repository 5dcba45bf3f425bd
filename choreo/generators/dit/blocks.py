"""Parts of the transformers: attention with normalised queries and keys and rotary positions, and SwiGLU."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from choreo.models.layers import MASKED, zero_init


class RMSNorm(nn.Module):
    """x / rms(x) with a learned gain over the last axis (Zhang & Sennrich 2019, eq. 4)."""

    def __init__(self, dim: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.gain, self.eps = nn.Parameter(torch.ones(dim)), eps

    def forward(self, x: Tensor) -> Tensor:
        """(..., dim) -> (..., dim)."""
        return x * (x.square().mean(dim=-1, keepdim=True) + self.eps).rsqrt() * self.gain


def rotated(x: Tensor, position: Tensor) -> Tensor:
    """Rotary positions (Su et al. 2021, eq. 34): (B, H, N, D) with pairs of channels turned by position (N,)."""
    half = x.shape[-1] // 2
    rates = 10_000.0 ** (-torch.arange(half, device=x.device).float() / half)
    angles = position.float()[:, None] * rates
    cos, sin = angles.cos(), angles.sin()
    first, second = x[..., :half], x[..., half:]
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)


class RotaryAttention(nn.Module):
    """Attention of queries (B, N, C) to keys (B, M, K), both root-mean-square normalised by head (QK-norm)."""

    def __init__(self, dim: int, num_heads: int, key_dim: int | None = None) -> None:
        super().__init__()
        self.num_heads, key_dim = num_heads, key_dim or dim
        self.query, self.key = nn.Linear(dim, dim), nn.Linear(key_dim, dim)
        self.value, self.output = nn.Linear(key_dim, dim), nn.Linear(dim, dim)
        self.query_norm, self.key_norm = RMSNorm(dim // num_heads), RMSNorm(dim // num_heads)

    def forward(self, x: Tensor, keys: Tensor, mask: Tensor, position: Tensor, key_position: Tensor) -> Tensor:
        """mask (B, M) is 1 for keys that exist; positions (N,) and (M,)."""
        q = rotated(self.query_norm(self._split(self.query(x))), position)
        k = rotated(self.key_norm(self._split(self.key(keys))), key_position)
        bias = (1 - mask[:, None, None, :]) * MASKED
        out = F.scaled_dot_product_attention(q, k, self._split(self.value(keys)), attn_mask=bias)
        return self.output(out.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.num_heads, -1)).transpose(1, 2)


class SwiGLU(nn.Module):
    """W3 (silu(W1 x) * W2 x) (Shazeer 2020, eq. 6)."""

    def __init__(self, dim: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.gate, self.value, self.output = nn.Linear(dim, hidden), nn.Linear(dim, hidden), nn.Linear(hidden, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, dim) -> (B, N, dim)."""
        return self.output(self.dropout(F.silu(self.gate(x)) * self.value(x)))


class PlainBlock(nn.Module):
    """Self-attention, then SwiGLU, each after a layer norm and added to what it reads; the identity at the start."""

    def __init__(self, dim: int, num_heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = RotaryAttention(dim, num_heads)
        self.feed_forward = SwiGLU(dim, hidden, dropout)
        zero_init(self.attention.output)
        zero_init(self.feed_forward.output)

    def forward(self, x: Tensor, mask: Tensor, position: Tensor) -> Tensor:
        """x (B, N, C), mask (B, N), position (N,)."""
        n = self.norm1(x)
        x = x + self.attention(n, n, mask, position, position)
        return x + self.feed_forward(self.norm2(x))
