"""The conditional 1-D U-Net denoiser, with residual blocks, self- and cross-attention and skip connections.

The layout inside is (B, C, 1, T) with (1, k) convolutions: the same arithmetic as Conv1d, and what ONNX Runtime's
and OpenVINO's blocked convolutions are made for. Skip bookkeeping follows Dhariwal & Nichol 2021: one push per
residual group and one per down-sampling, popped once each on the way up.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from choreo.generators.unet.config import UNetConfig
from choreo.models.conditioner import token_frames
from choreo.models.layers import Attention, sinusoid, zero_init


class MotionUNet(nn.Module):
    """Two views of x_t, timestep, context tokens, prior and rhythm -> what `Denoiser` makes x0 (or eps) of."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        width, emb = config.model_channels, config.model_channels * 4
        self.time_embed = nn.Sequential(nn.Linear(width, emb), nn.SiLU(), nn.Linear(emb, emb))
        self.context_embed = nn.Linear(2 * config.context_dim, emb)
        in_channels = 4 * config.channels + 1 + config.rhythm_channels
        self.input_proj = nn.Conv2d(in_channels * config.patch_frames, width, (1, 1))
        self.down, skips, ch = self._down_path(width, emb)
        self.middle = nn.ModuleList(
            [ResBlock(ch, ch, emb, config), AttentionBlock(ch, config, config.factor), ResBlock(ch, ch, emb, config)]
        )
        self.up, ch = self._up_path(ch, emb, skips)
        self.norm = nn.GroupNorm(config.num_groups, ch)
        self.output_proj = nn.Conv2d(ch, config.channels * config.patch_frames, (1, 1))
        zero_init(self.output_proj)

    def _down_path(self, ch: int, emb: int) -> tuple[nn.ModuleList, list[int], int]:
        config, down, ds = self.config, nn.ModuleList(), self.config.patch_frames
        skips = [ch]
        for level, mult in enumerate(config.channel_mult):
            for _ in range(config.num_res_blocks):
                out = config.model_channels * mult
                down.append(Stage(ch, out, emb, config, ds))
                ch = out
                skips.append(ch)
            if level < len(config.channel_mult) - 1:
                down.append(Downsample(ch))
                skips.append(ch)
                ds *= 2
        return down, skips, ch

    def _up_path(self, ch: int, emb: int, skips: list[int]) -> tuple[nn.ModuleList, int]:
        config, up, ds = self.config, nn.ModuleList(), self.config.factor
        for level, mult in reversed(list(enumerate(config.channel_mult))):
            for _ in range(config.num_res_blocks + 1):
                out = config.model_channels * mult
                up.append(Stage(ch + skips.pop(), out, emb, config, ds))
                ch = out
            if level > 0:
                up.append(Upsample(ch))
                ds //= 2
        if skips:
            raise AssertionError("the up path must consume every skip connection")
        return up, ch

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
        """seen (B, T, 2 C), the others as in `ModelSpec` with a batch axis; t is (B, 1). Returns (B, T, C)."""
        frames, patch = seen.shape[1], self.config.patch_frames
        prior_mask = prior[:, :, -1:]
        h = torch.cat([seen, known_mask, prior[:, :, :-1] * prior_mask, prior_mask, rhythm], dim=2)
        h = F.pad(h * frame_mask[..., None], (0, 0, 0, -frames % self.config.factor))
        mask = F.pad(frame_mask, (0, -frames % self.config.factor))[:, ::patch]
        h = h.unflatten(1, (-1, patch)).flatten(2).transpose(1, 2).unsqueeze(2)
        emb = self.time_embed(sinusoid(t[:, 0], self.config.model_channels)) + self._pool(context, context_mask)
        out = self._body(h, emb, context, context_mask, mask)
        return out.squeeze(2).transpose(1, 2).unflatten(2, (patch, -1)).flatten(1, 2)[:, :frames]

    def _pool(self, context: Tensor, mask: Tensor) -> Tensor:
        mean = (context * mask[..., None]).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)
        return self.context_embed(torch.cat([mean, context[:, -1]], dim=1))

    def _body(self, h: Tensor, emb: Tensor, context: Tensor, context_mask: Tensor, mask: Tensor) -> Tensor:
        emb = F.silu(emb)
        h = self.input_proj(h)
        skips, masks = [h], [mask]
        for block in self.down:
            if isinstance(block, Downsample):
                h = block(h)
                masks.append(masks[-1][:, ::2])
            else:
                h = block(h, emb, context, context_mask, masks[-1])
            skips.append(h)
        first, attention, last = self.middle
        h = last(attention(first(h, emb), context, context_mask, masks[-1]), emb)
        for block in self.up:
            if isinstance(block, Upsample):
                h = block(h)
                masks.pop()
            else:
                h = block(torch.cat([h, skips.pop()], dim=1), emb, context, context_mask, masks[-1])
        if skips:
            raise AssertionError("the skip stack must end empty")
        return self.output_proj(F.silu(self.norm(h)))


class Stage(nn.Module):
    """A residual block at down-sampling factor `ds`, followed by attention where that resolution has it."""

    def __init__(self, in_ch: int, out_ch: int, emb: int, config: UNetConfig, ds: int) -> None:
        super().__init__()
        self.residual = ResBlock(in_ch, out_ch, emb, config)
        self.attention = AttentionBlock(out_ch, config, ds) if ds in config.attention_resolutions else None

    def forward(self, h: Tensor, emb: Tensor, context: Tensor, context_mask: Tensor, mask: Tensor) -> Tensor:
        """h (B, C, 1, T), emb (B, E)."""
        h = self.residual(h, emb)
        return h if self.attention is None else self.attention(h, context, context_mask, mask)


class ResBlock(nn.Module):
    """GroupNorm-SiLU-conv twice, with scale and shift from the embedding (adaptive group norm) before the second."""

    def __init__(self, in_ch: int, out_ch: int, emb: int, config: UNetConfig) -> None:
        super().__init__()
        kernel, pad = (1, config.kernel_size), (0, config.kernel_size // 2)
        self.norm1 = nn.GroupNorm(config.num_groups, in_ch)
        self.conv1 = nn.Conv2d(in_ch, out_ch, kernel, padding=pad)
        self.modulation = nn.Linear(emb, 2 * out_ch)
        self.norm2 = nn.GroupNorm(config.num_groups, out_ch)
        self.dropout = nn.Dropout(config.dropout)
        self.conv2 = nn.Conv2d(out_ch, out_ch, kernel, padding=pad)
        zero_init(self.conv2)
        self.skip = nn.Identity() if in_ch == out_ch else nn.Conv2d(in_ch, out_ch, (1, 1))

    def forward(self, h: Tensor, emb: Tensor) -> Tensor:
        """h (B, C, 1, T), emb (B, E)."""
        out = self.conv1(F.silu(self.norm1(h)))
        scale, shift = self.modulation(emb)[:, :, None, None].chunk(2, dim=1)
        out = self.norm2(out) * (1 + scale) + shift
        return self.skip(h) + self.conv2(self.dropout(F.silu(out)))


class AttentionBlock(nn.Module):
    """Self-attention over frames, then cross-attention to the context; both see the frame's time."""

    def __init__(self, ch: int, config: UNetConfig, ds: int) -> None:
        super().__init__()
        self.config, self.ds = config, ds
        self.self_norm = nn.LayerNorm(ch)
        self.self_attention = Attention(ch, config.num_heads)
        self.cross_norm = nn.LayerNorm(ch)
        self.cross_attention = Attention(ch, config.num_heads, config.context_dim)

    def forward(self, h: Tensor, context: Tensor, context_mask: Tensor, mask: Tensor) -> Tensor:
        """h (B, C, 1, T'), mask (B, T') of real frames."""
        x = h.squeeze(2).transpose(1, 2)
        frames, tokens, per = x.shape[1], context.shape[1], self.config.frames_per_token
        time = torch.arange(frames, device=x.device) * self.ds + (self.ds - 1) / 2
        position = sinusoid(time, x.shape[2])
        n = self.self_norm(x)
        x = x + self.self_attention(n, n, mask, position, position)
        # The text token comes last and has no time: its position is all zeros.
        key_time = sinusoid(token_frames(tokens - 1, per, x.device), context.shape[2])
        key_position = F.pad(key_time, (0, 0, 0, 1))
        x = x + self.cross_attention(self.cross_norm(x), context, context_mask, position, key_position)
        return x.transpose(1, 2).unsqueeze(2)


class Downsample(nn.Module):
    """Halve T with a strided convolution."""

    def __init__(self, ch: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(ch, ch, (1, 3), stride=(1, 2), padding=(0, 1))

    def forward(self, h: Tensor) -> Tensor:
        """(B, C, 1, T) -> (B, C, 1, T / 2)."""
        return self.conv(h)


class Upsample(nn.Module):
    """Double T by repetition, then a convolution."""

    def __init__(self, ch: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(ch, ch, (1, 3), padding=(0, 1))

    def forward(self, h: Tensor) -> Tensor:
        """(B, C, 1, T) -> (B, C, 1, 2 T)."""
        # Repetition as a resize, which runtimes do in their blocked layout.
        return self.conv(F.interpolate(h, scale_factor=(1.0, 2.0), mode="nearest"))
