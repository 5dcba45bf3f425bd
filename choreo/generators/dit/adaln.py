"""Conditions as scale, shift and gate of every layer norm."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from choreo.generators.dit.blocks import RotaryAttention, SwiGLU
from choreo.generators.dit.config import DiTConfig
from choreo.generators.dit.network import Conditions, MotionDiT
from choreo.models.layers import zero_init


class AdaLNBlock(nn.Module):
    """Attention and SwiGLU under six modulations, LN(x) (1 + scale) + shift and a gate each (adaLN-zero).

    All six begin at zero (Peebles & Xie 2023, 3.2), so the block begins as the identity.
    """

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        width = config.width
        self.norm1 = nn.LayerNorm(width, elementwise_affine=False)
        self.norm2 = nn.LayerNorm(width, elementwise_affine=False)
        self.attention = RotaryAttention(width, config.num_heads)
        self.feed_forward = SwiGLU(width, config.hidden, config.dropout)
        self.modulation = nn.Linear(width, 6 * width)
        zero_init(self.modulation)

    def forward(self, x: Tensor, vector: Tensor, mask: Tensor, position: Tensor) -> Tensor:
        """x (B, N, W), vector (B, W), mask (B, N), position (N,)."""
        scale1, shift1, gate1, scale2, shift2, gate2 = self.modulation(F.silu(vector))[:, None].chunk(6, dim=2)
        n = self.norm1(x) * (1 + scale1) + shift1
        x = x + gate1 * self.attention(n, n, mask, position, position)
        return x + gate2 * self.feed_forward(self.norm2(x) * (1 + scale2) + shift2)


class AdaLNDiT(MotionDiT):
    """Time and text modulate every block, and the norm before the output."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__(config)
        self.blocks = nn.ModuleList(AdaLNBlock(config) for _ in range(config.layers))
        self.output_modulation = nn.Linear(config.width, 2 * config.width)
        zero_init(self.output_modulation)

    def _backbone(self, h: Tensor, conditions: Conditions, mask: Tensor) -> Tensor:
        position = torch.arange(h.shape[1], device=h.device)
        for block in self.blocks:
            h = block(h, conditions.vector, mask, position)
        return h

    def _output(self, h: Tensor, conditions: Conditions) -> Tensor:
        scale, shift = self.output_modulation(F.silu(conditions.vector))[:, None].chunk(2, dim=2)
        return self.output_proj(self.norm(h) * (1 + scale) + shift)
