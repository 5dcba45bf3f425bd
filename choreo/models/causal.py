"""Networks over time that see nothing of the future: attention per sample and over frames, a convolution, a decoder."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from choreo.models.layers import sinusoid


class CausalAttention(nn.Module):
    """Multi-head attention of frames (B, T, C) to the frames of a memory (B, T, C) up to the same one."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"dim {dim} is not a multiple of num_heads {num_heads}")
        self.num_heads = num_heads
        self.query, self.key, self.value = (nn.Linear(dim, dim) for _ in range(3))
        self.output = nn.Linear(dim, dim)

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        """(B, T, C) and (B, T, C) -> (B, T, C)."""
        frames = x.shape[1]
        past = torch.ones(frames, frames, dtype=torch.bool, device=x.device).tril()
        q, k, v = (self._split(y) for y in (self.query(x), self.key(memory), self.value(memory)))
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=past)
        return self.output(out.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, heads, T, C / heads): attention is over time, for each sample."""
        return x.unflatten(2, (self.num_heads, -1)).transpose(1, 2)


class CausalConvolution(nn.Module):
    """A convolution over a frame and the two before it."""

    def __init__(self, inputs: int, outputs: int, width: int = 3) -> None:
        super().__init__()
        self.width = width
        self.convolution = nn.Conv1d(inputs, outputs, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, I) -> (B, T, O)."""
        return self.convolution(F.pad(x.transpose(1, 2), (self.width - 1, 0))).transpose(1, 2)


class Positions(nn.Module):
    """Adds the sinusoidal position of each frame, scaled by a learned number."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim, self.scale = dim, nn.Parameter(torch.tensor(0.5))

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, T, C): the position is that in time, not in the batch."""
        return x + self.scale * sinusoid(torch.arange(x.shape[1], device=x.device), self.dim)


class CausalDecoderLayer(nn.Module):
    """A layer of a transformer decoder (Vaswani et al. 2017), normalised first: own past, memory, feed-forward."""

    def __init__(self, dim: int, num_heads: int, feed_forward: int, dropout: float) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(3))
        self.own, self.memory = CausalAttention(dim, num_heads), CausalAttention(dim, num_heads)
        self.feed_forward = nn.Sequential(
            nn.Linear(dim, feed_forward), nn.GELU(), nn.Dropout(dropout), nn.Linear(feed_forward, dim)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        """(B, T, C) and (B, T, C) -> (B, T, C)."""
        h = self.norms[0](x)
        x = x + self.dropout(self.own(h, h))
        x = x + self.dropout(self.memory(self.norms[1](x), memory))
        return x + self.dropout(self.feed_forward(self.norms[2](x)))
