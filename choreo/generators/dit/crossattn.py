"""Conditions as what the motion attends to."""

import torch
from torch import Tensor, nn

from choreo.generators.dit.blocks import PlainBlock, RotaryAttention
from choreo.generators.dit.config import DiTConfig
from choreo.generators.dit.network import Conditions, MotionDiT
from choreo.models.layers import zero_init


class CrossAttentionBlock(nn.Module):
    """Cross-attention to the conditions, then self-attention and SwiGLU; the identity at the start."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.width)
        self.cross_attention = RotaryAttention(config.width, config.num_heads)
        zero_init(self.cross_attention.output)
        self.rest = PlainBlock(config.width, config.num_heads, config.hidden, config.dropout)

    def forward(self, x: Tensor, conditions: Conditions, mask: Tensor, position: Tensor) -> Tensor:
        """x (B, N, W), mask (B, N), position (N,); conditions have no time, so neither side is turned."""
        keys = conditions.tokens
        nowhere, key_nowhere = torch.zeros_like(position), torch.zeros(keys.shape[1], device=x.device)
        x = x + self.cross_attention(self.norm(x), keys, conditions.mask, nowhere, key_nowhere)
        return self.rest(x, mask, position)


class CrossAttentionDiT(MotionDiT):
    """Every block attends to [time; text]."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__(config)
        self.blocks = nn.ModuleList(CrossAttentionBlock(config) for _ in range(config.layers))

    def _backbone(self, h: Tensor, conditions: Conditions, mask: Tensor) -> Tensor:
        position = torch.arange(h.shape[1], device=h.device)
        for block in self.blocks:
            h = block(h, conditions, mask, position)
        return h
