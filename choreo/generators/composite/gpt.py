"""The language model of motion: the next token from those before, and from music, rhythm and text."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from choreo.generators.composite.config import GptConfig
from choreo.models.causal_transformer import CausalTransformer


class Heard(NamedTuple):
    """Conditions of N tokens of P frames each.

    Attributes:
        music: (B, N, P, F) features, not normalised.
        music_mask: (B, N, P), 1 where there is a song.
        rhythm: (B, N, P, R) channels of `choreo.music.beats.beat_phase_channels`.
        text: (B, N, E) sentence embeddings.
        has_text: (B, N, 1), 1 where there is one.
    """

    music: Tensor
    music_mask: Tensor
    rhythm: Tensor
    text: Tensor
    has_text: Tensor


class MotionGpt(nn.Module):
    """Tokens with conditions to the logits of the tokens at their places.

    The first token of the vocabulary beyond the codes is the beginning in what goes in and the end in what comes out.
    An absent song or sentence is a learned vector, not zeros, so that "no song" and "a silent song" differ.
    """

    music_mean: Tensor
    music_std: Tensor

    def __init__(
        self,
        config: GptConfig,
        codes: int,
        text_dim: int,
        rhythm: int,
        patch: int,
        music_mean: Sequence[float],
        music_std: Sequence[float],
    ) -> None:
        super().__init__()
        self.config, self.codes, width = config, codes, config.width
        self.register_buffer("music_mean", torch.tensor(music_mean, dtype=torch.float32))
        self.register_buffer("music_std", torch.tensor(music_std, dtype=torch.float32))
        self.tokens = nn.Embedding(codes + 1, width)
        nn.init.normal_(self.tokens.weight, std=0.02)
        self.music = nn.Linear(len(music_mean), width)
        self.rhythm = nn.Linear(patch * rhythm, width)
        self.text = nn.Linear(text_dim, width)
        self.null_music = nn.Parameter(torch.randn(width) * 0.02)
        self.null_text = nn.Parameter(torch.randn(width) * 0.02)
        self.dropout = nn.Dropout(config.dropout)
        self.transformer = CausalTransformer(width, config.layers, config.num_heads, config.context, config.dropout)
        self.logits = nn.Linear(width, codes + 1)

    def forward(self, before: Tensor, heard: Heard) -> Tensor:
        """Logits (B, N, K + 1) of tokens from those one place before each, `before` (B, N)."""
        return self.logits(self.transformer(self._inputs(before, heard)))

    def step(
        self, token: Tensor, position: Tensor, heard: Heard, cache: Tensor, cache_mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Logits (B, K + 1) and cache entry (B, 2 L, W) of one token; shapes as in `plan_graphs`."""
        x = self._inputs(token.long(), heard)[:, 0]
        read, entry = self.transformer.step(x, position, cache, cache_mask)
        return self.logits(read), entry

    def _inputs(self, before: Tensor, heard: Heard) -> Tensor:
        mask = heard.music_mask[..., None]
        # Songs unlike the training songs must not push the vectors out of range.
        z = 4 * torch.tanh((heard.music - self.music_mean) / self.music_std / 4) * mask
        count = mask.sum(dim=2)
        there = count.clamp(max=1)
        song = there * self.music(z.sum(dim=2) / count.clamp(min=1)) + (1 - there) * self.null_music
        sentence = heard.has_text * self.text(heard.text) + (1 - heard.has_text) * self.null_text
        return self.dropout(self.tokens(before) + song + sentence + self.rhythm(heard.rhythm.flatten(2)))


class GptStep(nn.Module):
    """`MotionGpt.step` with the inputs of its graph."""

    def __init__(self, gpt: MotionGpt) -> None:
        super().__init__()
        self.gpt = gpt

    def forward(
        self,
        token: Tensor,
        position: Tensor,
        music: Tensor,
        music_mask: Tensor,
        rhythm: Tensor,
        text: Tensor,
        has_text: Tensor,
        cache: Tensor,
        cache_mask: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Shapes as in `plan_graphs` with a batch axis."""
        heard = Heard(*(values[:, None] for values in (music, music_mask, rhythm, text, has_text)))
        return self.gpt.step(token, position, heard, cache, cache_mask)
