"""The latent denoiser: a transformer over latent tokens that attends to music, rhythm, prior and text."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from choreo.diffusion.parameters import DiffusionParameters
from choreo.diffusion.schedule import Prediction
from choreo.generators.latent.config import LatentConfig
from choreo.models.layers import Attention, sinusoid, zero_init


class LatentDenoiser(nn.Module):
    """x_t and its conditions -> x0 (or eps), of scaled latents.

    Latents have mean 0 and variance 1, so that the best linear denoiser is sqrt(abar) x_t with an error of variance
    1 - abar. The network F adds to it in units of that error, which is the preconditioning of Karras et al. 2022 (EDM,
    table 1) in its variance-preserving form:

        x0 = sqrt(abar) x_t + sqrt(1 - abar) F(...)

    Of a token of which the share m is given, m of x0 is what is given.
    """

    alphas_cumprod: Tensor

    def __init__(self, config: LatentConfig) -> None:
        super().__init__()
        sizes, vae, spec = config.denoiser, config.vae, config.spec
        parameters = DiffusionParameters.of(spec)
        width, self.width = sizes.width, sizes.width
        self.prediction = parameters.prediction
        table = torch.from_numpy(parameters.noise_schedule().alphas_cumprod).float()
        self.register_buffer("alphas_cumprod", table, persistent=False)
        self.context = LatentContext(config)
        self.input = nn.Linear(2 * vae.channels + 1, width)
        self.time = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.blocks = nn.ModuleList(
            [Block(width, sizes.num_heads, sizes.feed_forward, sizes.dropout) for _ in range(sizes.layers)]
        )
        self.norm = nn.LayerNorm(width)
        self.output = nn.Linear(width, vae.channels)
        zero_init(self.output)
        self.tokens, self.token_frames = vae.tokens, vae.token_frames

    def forward(
        self,
        x: Tensor,
        t: Tensor,
        text: Tensor,
        has_text: Tensor,
        music: Tensor,
        music_mask: Tensor,
        rhythm: Tensor,
        prior: Tensor,
        prior_mask: Tensor,
        given: Tensor,
        given_mask: Tensor,
    ) -> Tensor:
        """Shapes as in `latent_spec` with a batch axis."""
        context, sentence = self.context(text, has_text, music, music_mask, rhythm, prior, prior_mask)
        h = self.input(torch.cat([x, given, given_mask], dim=2))
        emb = F.silu(self.time(sinusoid(t[:, 0], self.width)) + sentence)
        position = sinusoid(_centres(self.tokens, self.token_frames, x.device), self.width)
        # The text comes last and has no time: its position is all zeros.
        per = self.context.frames
        key_position = F.pad(sinusoid(_centres(context.shape[1] - 1, per, x.device), self.width), (0, 0, 0, 1))
        for block in self.blocks:
            h = block(h, emb, context, position, key_position)
        a = self.alphas_cumprod[t[:, 0].long()][:, None, None]
        x0 = a.sqrt() * x + (1 - a).sqrt() * self.output(self.norm(h))
        x0 = given_mask * given + (1 - given_mask) * x0
        return (x - a.sqrt() * x0) / (1 - a).sqrt() if self.prediction is Prediction.EPS else x0


class LatentContext(nn.Module):
    """Music, rhythm and prior as a token per few frames, and the text as one more.

    An absent song, prior or text is a learned token, not zeros, so that "no song" and "a silent song" differ.
    """

    music_mean: Tensor
    music_std: Tensor

    def __init__(self, config: LatentConfig) -> None:
        super().__init__()
        spec, width, self.frames = config.spec, config.denoiser.width, config.denoiser.frames_per_context
        self.register_buffer("music_mean", torch.tensor(config.music_mean, dtype=torch.float32))
        self.register_buffer("music_std", torch.tensor(config.music_std, dtype=torch.float32))
        self.music = _projection(spec.music_dim, width)
        self.text = _projection(spec.text_dim, width)
        self.rhythm = nn.Linear(self.frames * config.rhythm_channels, width)
        self.prior = nn.Linear(self.frames * (spec.channels + 1), width)
        self.null_music = nn.Parameter(torch.randn(width) * 0.5)
        self.null_text = nn.Parameter(torch.randn(width) * 0.5)
        self.norm = nn.LayerNorm(width)

    def forward(
        self,
        text: Tensor,
        has_text: Tensor,
        music: Tensor,
        music_mask: Tensor,
        rhythm: Tensor,
        prior: Tensor,
        prior_mask: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Context (B, L, W), whose last token is the text, and the text (B, W); arguments as in `latent_spec`."""
        # Songs unlike the training songs must not push the tokens out of range.
        z = 4 * torch.tanh((music - self.music_mean) / self.music_std / 4) * music_mask[..., None]
        count = self._patches(music_mask[..., None]).sum(2)
        heard = count.clamp(max=1)
        pooled = self._patches(z).sum(2) / count.clamp(min=1)
        tokens = heard * self.music(pooled) + (1 - heard) * self.null_music
        held = prior_mask[..., None]
        shown = torch.cat([prior * held, held], dim=3)
        tokens = tokens + self.rhythm(self._patches(rhythm).flatten(2)) + self.prior(self._patches(shown).flatten(2))
        sentence = has_text * self.text(text) + (1 - has_text) * self.null_text
        return self.norm(torch.cat([tokens, sentence[:, None]], dim=1)), sentence

    def _patches(self, values: Tensor) -> Tensor:
        """(B, N, P, X) -> (B, L, frames, X)."""
        return values.flatten(1, 2).unflatten(1, (-1, self.frames))


class Block(nn.Module):
    """Self-attention, cross-attention and feed-forward layers; the first and the last see the noise level."""

    def __init__(self, width: int, num_heads: int, feed_forward: int, dropout: float) -> None:
        super().__init__()
        self.modulation = nn.Linear(width, 4 * width)
        zero_init(self.modulation)
        self.self_norm = nn.LayerNorm(width)
        self.self_attention = Attention(width, num_heads)
        self.cross_norm = nn.LayerNorm(width)
        self.cross_attention = Attention(width, num_heads)
        self.norm = nn.LayerNorm(width)
        inner, last = nn.Linear(width, feed_forward * width), nn.Linear(feed_forward * width, width)
        zero_init(last)
        self.feed_forward = nn.Sequential(inner, nn.GELU(), nn.Dropout(dropout), last)

    def forward(self, x: Tensor, emb: Tensor, context: Tensor, position: Tensor, key_position: Tensor) -> Tensor:
        """x (B, N, W), emb (B, W), context (B, L, W), position (N, W), key_position (L, W)."""
        shift, scale, last_shift, last_scale = self.modulation(emb)[:, None].chunk(4, dim=2)
        h = self.self_norm(x) * (1 + scale) + shift
        x = x + self.self_attention(h, h, torch.ones_like(h[..., 0]), position, position)
        every = torch.ones_like(context[..., 0])
        x = x + self.cross_attention(self.cross_norm(x), context, every, position, key_position)
        return x + self.feed_forward(self.norm(x) * (1 + last_scale) + last_shift)


def _projection(inputs: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, width), nn.SiLU(), nn.Linear(width, width))


def _centres(count: int, frames: int, device: torch.device) -> Tensor:
    """Centre frame of each of `count` stretches (count,)."""
    return torch.arange(count, device=device) * frames + (frames - 1) / 2
