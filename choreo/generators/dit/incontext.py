"""Conditions as tokens before those of the motion."""

import torch
from torch import Tensor, nn

from choreo.generators.dit.blocks import PlainBlock
from choreo.generators.dit.config import DiTConfig
from choreo.generators.dit.network import Conditions, MotionDiT


class InContextDiT(MotionDiT):
    """Self-attention over [time; text; motion]; the first two are stripped before the output (Peebles & Xie 3.2)."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__(config)
        sizes = config.width, config.num_heads, config.hidden, config.dropout
        self.blocks = nn.ModuleList(PlainBlock(*sizes) for _ in range(config.layers))

    def _backbone(self, h: Tensor, conditions: Conditions, mask: Tensor) -> Tensor:
        given = conditions.tokens.shape[1]
        x = torch.cat([conditions.tokens, h], dim=1)
        every = torch.cat([conditions.mask, mask], dim=1)
        position = torch.arange(x.shape[1], device=x.device)
        for block in self.blocks:
            x = block(x, every, position)
        return x[:, given:]
