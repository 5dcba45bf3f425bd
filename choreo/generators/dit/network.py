"""What the transformers have in common: tokens of frames, FiLM by the music, and three hooks for the conditions."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from choreo.generators.dit.config import DiTConfig
from choreo.models.layers import sinusoid, zero_init


@dataclass(frozen=True)
class Conditions:
    """Timestep and text: one vector (B, W) for both, or tokens (B, K, W) with their mask (B, K)."""

    vector: Tensor
    tokens: Tensor
    mask: Tensor


class MotionDiT(nn.Module, ABC):
    """Two views of x_t, timestep, context, prior and rhythm -> what `Denoiser` makes x0 (or eps) of.

    After Peebles & Xie 2023, with one token for `patch_frames` frames. Music is FiLM of each token by the music of its
    own time (Perez et al. 2018), which is the identity at the start.
    """

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.config, width = config, config.width
        channels = 4 * config.channels + 1 + config.rhythm_channels
        self.input_proj = nn.Linear(channels * config.patch_frames, width)
        self.music_film = nn.Linear(config.context_dim, 2 * width)
        zero_init(self.music_film)
        self.time_embed = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.text_embed = nn.Linear(config.context_dim, width)
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.output_proj = nn.Linear(width, config.channels * config.patch_frames)
        zero_init(self.output_proj)

    def forward(
        self,
        seen: Tensor,
        t: Tensor,
        context: Tensor,
        context_mask: Tensor,
        prior: Tensor,
        known_mask: Tensor,
        rhythm: Tensor,
        frame_mask: Tensor,
    ) -> Tensor:
        """seen (B, T, 2 C), the others as in `windowed_spec` with a batch axis; t is (B, 1). Returns (B, T, C)."""
        frames, patch = seen.shape[1], self.config.patch_frames
        prior_mask, pad = prior[:, :, -1:], -frames % patch
        h = torch.cat([seen, known_mask, prior[:, :, :-1] * prior_mask, prior_mask, rhythm], dim=2)
        h = F.pad(h * frame_mask[..., None], (0, 0, 0, pad)).unflatten(1, (-1, patch)).flatten(2)
        mask = F.pad(frame_mask, (0, pad))[:, ::patch]
        h = self._heard(self.input_proj(h), context, context_mask)
        conditions = self._conditions(t, context, context_mask)
        out = self._output(self._backbone(h, conditions, mask), conditions)
        return out.unflatten(2, (patch, -1)).flatten(1, 2)[:, :frames]

    def _heard(self, h: Tensor, context: Tensor, context_mask: Tensor) -> Tensor:
        """FiLM of tokens (B, N, W) by the music token of each one's first frame; the last context token is the text."""
        first = torch.arange(h.shape[1], device=h.device) * self.config.patch_frames
        at = (first // self.config.frames_per_token).clamp(max=context.shape[1] - 2)
        music = (context * context_mask[..., None])[:, at]
        scale, shift = self.music_film(music).chunk(2, dim=2)
        return h * (1 + scale) + shift

    def _conditions(self, t: Tensor, context: Tensor, context_mask: Tensor) -> Conditions:
        """Hook: what the backbone is told; here the tokens [time; text] and their sum."""
        time = self.time_embed(sinusoid(t[:, 0], self.config.width))
        text = self.text_embed(context[:, -1]) * context_mask[:, -1:]
        mask = torch.cat([torch.ones_like(context_mask[:, -1:]), context_mask[:, -1:]], dim=1)
        return Conditions(time + text, torch.stack([time, text], dim=1), mask)

    @abstractmethod
    def _backbone(self, h: Tensor, conditions: Conditions, mask: Tensor) -> Tensor:
        """Hook: tokens (B, N, W) with their mask (B, N) -> tokens (B, N, W)."""

    def _output(self, h: Tensor, conditions: Conditions) -> Tensor:
        """Hook: tokens (B, N, W) -> (B, N, patch_frames * C)."""
        return self.output_proj(self.norm(h))
