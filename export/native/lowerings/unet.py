"""The diffusion U-Net and the denoiser around it (`choreo.generators.unet`) as a program for the compiled engine.

Whatever is the same in every call becomes a constant: positions under the projections of queries and keys, gain and
bias of layer norms, the bias of values (attention weights sum to 1, so it passes through to the output), pose axes
before the first layer, and embeddings of timesteps. A convolution after a repetition of frames becomes two products of
two taps each.
"""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from choreo.diffusion.schedule import Prediction
from choreo.generators.unet.network import AttentionBlock, Downsample, MotionUNet, ResBlock, Stage, Upsample
from choreo.generators.windowed_denoiser import Denoiser
from choreo.models.conditioner import token_frames
from choreo.models.layers import Attention, sinusoid
from export.native.blocks import (
    FeatureMap,
    Matrix,
    Modulation,
    array,
    convolution,
    layer_norm,
    left_product,
    linear,
    norm_and_convolution,
    norm_and_silu,
    padded,
    product,
)
from export.native.program import Buffer, CannotLower, Parameter, Program


def lower(module: nn.Module, program: Program) -> None:
    """Append the operators of a `Denoiser` with a `MotionUNet`.

    Raises:
        CannotLower: it is another module or network, or has parts that the engine has no operator for.
    """
    if not isinstance(module, Denoiser) or not isinstance(module.network, MotionUNet):
        raise CannotLower(f"no lowering for {type(getattr(module, 'network', module)).__name__}")
    _DenoiserLowering(program, module, module.network).lower()


class _DenoiserLowering:
    """What `Denoiser` computes before and after its network."""

    def __init__(self, program: Program, denoiser: Denoiser, network: MotionUNet) -> None:
        self.program, self.denoiser, self.network = program, denoiser, network
        self.frames, self.channels = program.inputs["x"]
        self.rhythm_channels = program.inputs["rhythm"][1]
        # Strides of whole vectors, for one and for two feature maps of C channels.
        self.ld = -(-self.channels // program.lanes) * program.lanes
        self.ld_views = -(-2 * self.channels // program.lanes) * program.lanes

    def lower(self) -> None:
        p, gaussian = self.program, self.denoiser.gaussian
        frames, channels, floats = self.frames, self.channels, self.frames * self.channels
        axes = array(gaussian.axes)
        network = _NetworkLowering(p, self.network, len(self.denoiser.alphas_cumprod), axes)
        network.condition()
        self.levels = p.constant(array(self.denoiser.alphas_cumprod))
        x, t, known, known_mask, frame_mask = (p.input(n) for n in ("x", "t", "known", "known_mask", "frame_mask"))
        clamped = p.buffer(floats)
        p.emit(
            "clamp_known_frames", x, t, known, known_mask, frame_mask, frames, channels, *self._levels(), clamped
        )  # fmt: skip
        rotated = p.buffer(floats)
        product(p, clamped, 0, channels, frames, axes, rotated, 0, channels)
        modes = self._modes(rotated)
        self.variances = p.constant(_even_first(array(gaussian.variances)))
        views = p.buffer(frames * self.ld_views)
        p.emit("posterior", *self._posterior(modes), self.ld_views, views)
        output = network.body(self._network_input(views))
        corrected = p.buffer(frames * self.ld)
        p.emit("apply_posterior_correction", *self._posterior(modes), self._modes(output), corrected)
        transformed = self._transform(corrected, channels, self.ld, inverse=True)
        along_axes, x0 = p.buffer(floats), p.buffer(floats)
        p.emit("unfold", transformed, frames, channels, self.ld, along_axes)
        product(p, along_axes, 0, channels, frames, axes.T, x0, 0, channels)
        eps = int(self.denoiser.prediction is Prediction.EPS)
        p.emit(
            "restore_known_frames", x0, x, t, known, known_mask, frame_mask, frames, channels, eps, *self._levels(),
            p.result(),
        )  # fmt: skip

    def _network_input(self, views: Buffer) -> list[Buffer]:
        """(T, 2 C + R), (T, C), (T, C + 1), with T padded: see kernels/diffusion/build_input.cpp."""
        p, channels, rhythm = self.program, self.channels, self.rhythm_channels
        transformed = self._transform(views, 2 * channels, self.ld_views, inverse=True)
        length = self.frames + -self.frames % self.network.config.factor
        parts = [p.buffer(length * width) for width in (2 * channels + rhythm, channels, channels + 1)]
        inputs = [p.input(name) for name in ("known_mask", "prior", "rhythm", "frame_mask")]
        p.emit("build_input", transformed, *inputs, self.frames, length, channels, rhythm, self.ld_views, *parts)
        return parts

    def _levels(self) -> tuple[Parameter, ...]:
        return len(self.denoiser.alphas_cumprod), self.levels

    def _posterior(self, modes: Buffer) -> tuple[Parameter, ...]:
        """The parameters that all posterior operators begin with."""
        steps, levels = self._levels()
        return modes, self.program.input("t"), self.frames, self.channels, self.ld, steps, self.variances, levels

    def _modes(self, x: Buffer) -> Buffer:
        """(T, C) -> modes at stride `ld`."""
        folded = self.program.buffer(self.frames * self.ld)
        self.program.emit("fold", x, self.frames, self.channels, self.ld, folded)
        return self._transform(folded, self.channels, self.ld)

    def _transform(self, x: Buffer, columns: int, ld: int, inverse: bool = False) -> Buffer:
        """Cosine transform of the sums and differences of mirrored frames, see kernels/diffusion/fold.cpp."""
        cosines, out, at = array(self.denoiser.gaussian.cosines), self.program.buffer(self.frames * ld), 0
        half = self.frames // 2
        for matrix in (cosines[0::2, : self.frames - half], cosines[1::2, :half]):
            if len(matrix):
                left_product(self.program, matrix.T if inverse else matrix, x, at, ld, columns, out)
            at += len(matrix) * ld
        return out


class _NetworkLowering:
    """`MotionUNet`, from its input in three parts to its output (T, C)."""

    def __init__(self, program: Program, network: MotionUNet, steps: int, axes: Matrix) -> None:
        self.program, self.network, self.config = program, network, network.config
        self.steps, self.axes = steps, axes
        self.window = program.inputs["x"][0]
        self.tokens, self.context_dim = program.inputs["context"]
        self.blocks = [m for m in network.modules() if isinstance(m, ResBlock)]
        self.attentions = [m for m in network.modules() if isinstance(m, AttentionBlock)]
        self.modulations: dict[int, Modulation] = {}

    def condition(self) -> None:
        """What depends on timestep and context alone, for all rows of a call."""
        p, network = self.program, self.network
        width, emb, dim = self.config.model_channels, network.context_embed.out_features, self.context_dim
        table = network.time_embed(sinusoid(torch.arange(self.steps), width))
        embedded, pooled = p.buffer(emb, "call"), p.buffer(2 * dim, "call")
        p.emit("embedding", p.input("t"), self.steps, emb, p.constant(array(table)), embedded, call=True)
        context, mask = p.input("context"), p.input("context_mask")
        p.emit("pool", context, mask, self.tokens, dim, pooled, call=True)
        weight, bias = linear(network.context_embed)
        product(p, pooled, 0, 2 * dim, 1, weight, embedded, 0, emb, bias=bias, residual=embedded, call=True)
        p.emit("silu", embedded, emb, embedded, call=True)
        parts = [linear(block.modulation) for block in self.blocks]
        total = sum(len(bias) for _, bias in parts)
        modulation, at = p.buffer(total, "call"), 0
        for block, (_, bias) in zip(self.blocks, parts, strict=True):
            self.modulations[id(block)] = modulation, at
            at += len(bias)
        weight, bias = np.concatenate([w for w, _ in parts], axis=1), np.concatenate([b for _, b in parts])
        product(p, embedded, 0, emb, 1, weight, modulation, 0, total, bias=bias, call=True)
        if self.attentions:
            self._keys_and_values(context)

    def _keys_and_values(self, context: Buffer) -> None:
        tokens, dim = self.tokens, self.context_dim
        time = sinusoid(token_frames(tokens - 1, self.config.frames_per_token, torch.device("cpu")), dim)
        position = array(F.pad(time, (0, 0, 0, 1)))
        weights, tables, heads = list[Matrix](), list[Matrix](), list[int]()
        for block in self.attentions:
            attention = block.cross_attention
            key, key_bias = linear(attention.key)
            value, _ = linear(attention.value)
            weights += [key, value]
            tables += [position @ key + key_bias, np.zeros((tokens, value.shape[1]))]
            heads += [attention.num_heads, key.shape[1] // attention.num_heads]
        p = self.program
        panels, table = p.panels(np.concatenate(weights, axis=1)), p.columns(np.concatenate(tables, axis=1))
        p.emit("condition", context, tokens, dim, len(self.attentions), *heads, panels, table, call=True)

    def body(self, parts: list[Buffer]) -> Buffer:
        """(T, 2 C + R), (T, C), (T, C + 1) -> (T, C), all with T padded."""
        p, network, config = self.program, self.network, self.config
        frames, width = self.window + -self.window % config.factor, config.model_channels
        positions = frames // config.patch_frames
        h: FeatureMap = (p.buffer(positions * width), width)
        self._input_projection(parts, positions, h[0])
        skips = [h]
        for block in network.down:
            if isinstance(block, Downsample):
                h, positions = self._downsample(block, h, positions), positions // 2
            else:
                h = self._stage(block, [h], positions)
            skips.append(h)
        first, attention, last = network.middle
        h = self._attention(attention, self._residual(first, [h], positions), positions)
        h = self._residual(last, [h], positions)
        for block in network.up:
            if isinstance(block, Upsample):
                h, positions = self._upsample(block, h, positions), positions * 2
            else:
                h = self._stage(block, [h, skips.pop()], positions)
        normed = norm_and_silu(p, network.norm, [h], positions)
        weight, bias = convolution(network.output_proj)
        out = p.buffer(positions * weight.shape[2])
        product(p, normed, 0, h[1], positions, weight[0], out, 0, weight.shape[2], bias=bias)
        return out

    def _input_projection(self, parts: list[Buffer], positions: int, out: Buffer) -> None:
        """The first layer, with the pose axes of the first view; most rows have no known frames or no prior."""
        weight, bias = convolution(self.network.input_proj)
        by_frame = weight[0].reshape(self.config.patch_frames, -1, weight.shape[2]).copy()
        channels = self.config.channels
        by_frame[:, :channels] = self.axes.T @ by_frame[:, :channels]
        views, known, prior, rhythm = np.split(by_frame, np.cumsum([2 * channels, channels, channels + 1]), axis=1)
        weights = (np.concatenate([views, rhythm], axis=1), known, prior)
        for i, (x, part) in enumerate(zip(parts, weights, strict=True)):
            matrix = part.reshape(-1, weight.shape[2])
            product(
                self.program, x, 0, len(matrix), positions, matrix, out, 0, weight.shape[2],
                bias=None if i else bias, residual=out if i else None, sparse=i > 0,
            )  # fmt: skip

    def _stage(self, block: nn.Module, maps: list[FeatureMap], positions: int) -> FeatureMap:
        if not isinstance(block, Stage):
            raise CannotLower(f"no lowering for {type(block).__name__}")
        h = self._residual(block.residual, maps, positions)
        return h if block.attention is None else self._attention(block.attention, h, positions)

    def _residual(self, block: nn.Module, maps: list[FeatureMap], positions: int) -> FeatureMap:
        assert isinstance(block, ResBlock)
        p, channels = self.program, block.conv1.out_channels
        hidden = norm_and_convolution(p, block.norm1, maps, positions, block.conv1, p.buffer(positions * channels))
        if isinstance(block.skip, nn.Identity):
            residual, out = maps[0][0], p.buffer(positions * channels)
        else:
            weight, bias = convolution(block.skip)
            residual = out = p.buffer(positions * channels)
            at = 0
            for i, (x, width) in enumerate(maps):
                product(
                    p, x, 0, width, positions, weight[0, at : at + width], out, 0, channels,
                    bias=None if i else bias, residual=out if i else None,
                )  # fmt: skip
                at += width
        norm_and_convolution(
            p, block.norm2, [(hidden, channels)], positions, block.conv2, out, residual=residual,
            modulation=self.modulations[id(block)],
        )  # fmt: skip
        return out, channels

    def _attention(self, block: nn.Module, h: FeatureMap, positions: int) -> FeatureMap:
        """In place, because nothing else reads `h`."""
        assert isinstance(block, AttentionBlock)
        time = torch.arange(positions) * block.ds + (block.ds - 1) / 2
        position = array(sinusoid(time, h[1]))
        self._self_attention(block, h, positions, position)
        self._cross_attention(block, h, positions, position)
        return h

    def _self_attention(self, block: AttentionBlock, h: FeatureMap, positions: int, position: Matrix) -> None:
        p, (x, channels) = self.program, h
        attention, gain, shift = block.self_attention, array(block.self_norm.weight), array(block.self_norm.bias)
        normed = layer_norm(p, block.self_norm, x, positions, channels)
        query, query_table = _query(attention, gain, shift + position)
        key, key_bias = linear(attention.key)
        value, value_bias = linear(attention.value)
        weight = np.concatenate([query, gain[:, None] * key, gain[:, None] * value], axis=1)
        table = np.concatenate([query_table, (shift + position) @ key + key_bias, np.zeros_like(query_table)], axis=1)
        joined, attended = p.buffer(3 * positions * channels), p.buffer(positions * channels)
        product(p, normed, 0, channels, positions, weight, joined, 0, 3 * channels, table=table)
        mask = (p.input("frame_mask"), block.ds, self.window)
        heads = attention.num_heads
        p.emit("self_attention", joined, positions, heads, channels // heads, *mask, attended)
        self._output(attention, attended, positions, shift @ value + value_bias, x)

    def _cross_attention(self, block: AttentionBlock, h: FeatureMap, positions: int, position: Matrix) -> None:
        p, (x, channels) = self.program, h
        attention, gain, shift = block.cross_attention, array(block.cross_norm.weight), array(block.cross_norm.bias)
        normed = layer_norm(p, block.cross_norm, x, positions, channels)
        query, query_table = _query(attention, gain, shift + position)
        queries, attended = p.buffer(positions * channels), p.buffer(positions * channels)
        product(p, normed, 0, channels, positions, query, queries, 0, channels, table=query_table)
        number = next(i for i, each in enumerate(self.attentions) if each is block)
        mask = (p.input("context_mask"), 1, self.tokens)
        p.emit("cross_attention", queries, positions, number, *mask, attended)
        self._output(attention, attended, positions, linear(attention.value)[1], x)

    def _output(self, attention: Attention, attended: Buffer, positions: int, value: Matrix, x: Buffer) -> None:
        """x += the output projection; its bias includes `value`, which all values have in common."""
        weight, bias = linear(attention.output)
        channels = weight.shape[1]
        bias = value @ weight + bias
        product(self.program, attended, 0, channels, positions, weight, x, 0, channels, bias=bias, residual=x)

    def _downsample(self, block: Downsample, h: FeatureMap, positions: int) -> FeatureMap:
        p, (x, channels) = self.program, h
        weight, bias = convolution(block.conv)
        wide, out = padded(p, x, positions, channels, 1, 1), p.buffer(positions // 2 * channels)
        matrix = weight.reshape(-1, channels)
        product(p, wide, 0, 2 * channels, positions // 2, matrix, out, 0, channels, bias=bias)
        return out, channels

    def _upsample(self, block: Upsample, h: FeatureMap, positions: int) -> FeatureMap:
        """Two of three taps see the same frame: output 2 j depends on j - 1 and j, output 2 j + 1 on j and j + 1."""
        p, (x, channels) = self.program, h
        (before, here, after), bias = convolution(block.conv)
        wide, out = padded(p, x, positions, channels, 1, 1), p.buffer(2 * positions * channels)
        for odd, pair in enumerate(((before, here + after), (before + here, after))):
            at = odd * channels
            product(p, wide, at, channels, positions, np.concatenate(pair), out, at, 2 * channels, bias=bias)
        return out, channels


def _query(attention: Attention, gain: Matrix, offset: Matrix) -> tuple[Matrix, Matrix]:
    """Weight and table (T, C) of the scaled queries to `gain * x + offset`."""
    weight, bias = linear(attention.query)
    scale = (weight.shape[1] // attention.num_heads) ** -0.5
    return gain[:, None] * weight * scale, (offset @ weight + bias) * scale


def _even_first(modes: Matrix) -> Matrix:
    return np.concatenate([modes[0::2], modes[1::2]])
