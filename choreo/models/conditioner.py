"""Music, text and their absence as one sequence of context tokens."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from choreo.models.conditioner_config import ConditionerConfig
from choreo.models.layers import Attention, sinusoid


class Conditioner(nn.Module):
    """Projections, learned nulls and a small encoder: (music, text) -> context (B, L, D) and mask (B, L).

    An absent modality is a learned token, not zeros and not silence, so "no song" and "a silent song" differ.
    """

    music_mean: Tensor
    music_std: Tensor

    def __init__(self, config: ConditionerConfig, music_mean: Sequence[float], music_std: Sequence[float]) -> None:
        super().__init__()
        self.config = config
        dim = config.context_dim
        self.register_buffer("music_mean", torch.tensor(music_mean, dtype=torch.float32))
        self.register_buffer("music_std", torch.tensor(music_std, dtype=torch.float32))
        self.music = nn.Sequential(nn.Linear(config.music_dim, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.text = nn.Sequential(nn.Linear(config.text_dim, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.null_music = nn.Parameter(torch.randn(dim) * 0.5)
        self.null_text = nn.Parameter(torch.randn(dim) * 0.5)
        self.layers = nn.ModuleList([EncoderLayer(dim, config.num_heads) for _ in range(config.num_layers)])
        self.norm = nn.LayerNorm(dim)

    def forward(
        self, music: Tensor, music_mask: Tensor, text: Tensor, has_music: Tensor, has_text: Tensor
    ) -> tuple[Tensor, Tensor]:
        """music (B, T, F), music_mask (B, T), text (B, E), has_* (B, 1) -> context (B, L, D), context_mask (B, L)."""
        per = self.config.frames_per_token
        # Songs unlike the training songs must not push the tokens out of range: three sigmas are passed on nearly
        # unchanged, an outlier of ten is squeezed to four.
        z = 4 * torch.tanh((music - self.music_mean) / self.music_std / 4) * music_mask[..., None]
        weight = music_mask.unflatten(1, (-1, per)).sum(2, keepdim=True)
        pooled = z.unflatten(1, (-1, per)).sum(2) / weight.clamp(min=1)
        heard = has_music[:, :, None]
        tokens = heard * self.music(pooled) + (1 - heard) * self.null_music
        mask = torch.clamp(has_music * weight.squeeze(2).clamp(max=1) + (1 - has_music), 0, 1)
        sentence = has_text * self.text(text) + (1 - has_text) * self.null_text
        position = sinusoid(token_frames(tokens.shape[1], per, tokens.device), tokens.shape[2])
        for layer in self.layers:
            tokens = layer(tokens, mask, position)
        context = self.norm(torch.cat([tokens, sentence[:, None]], dim=1))
        return context, torch.cat([mask, torch.ones_like(has_text)], dim=1)


class EncoderLayer(nn.Module):
    """Pre-norm self-attention and feed-forward over the music tokens."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attention = Attention(dim, num_heads)
        self.norm2 = nn.LayerNorm(dim)
        self.feed_forward = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def forward(self, x: Tensor, mask: Tensor, position: Tensor) -> Tensor:
        """x (B, L, D), mask (B, L), position (L, D)."""
        h = self.norm1(x)
        x = x + self.attention(h, h, mask, position, position)
        return x + self.feed_forward(self.norm2(x))


def token_frames(num_tokens: int, frames_per_token: int, device: torch.device) -> Tensor:
    """Centre frame of each music token (num_tokens,)."""
    return torch.arange(num_tokens, device=device) * frames_per_token + (frames_per_token - 1) / 2
