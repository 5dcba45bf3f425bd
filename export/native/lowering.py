"""The denoiser as a program for the compiled engine.

What is the same at every call becomes constants: positions under the projections of queries and keys, the gain and bias
of layer norms, the bias of values (weights of attention sum to 1, so it comes through to the output), pose axes before
the first layer, embeddings of timesteps. Convolutions of three taps are Winograd's F(2, 3) (Lavin & Gray 2016), and one
after a repetition of frames is two products of two taps each.
"""

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from choreo.diffusion.schedule import Prediction
from choreo.generators.spec import GraphSpec
from choreo.generators.unet.denoiser import Denoiser
from choreo.generators.unet.network import AttentionBlock, Downsample, MotionUNet, ResBlock, Stage, Upsample
from choreo.models.conditioner import token_frames
from choreo.models.layers import Attention, sinusoid
from export.native.program import ABSENT, Buffer, CannotLower, Kind, Layout, Parameter, Program, Weights

Matrix = NDArray[np.float64]
Map = tuple[Buffer, int]
"""A feature map (T, C) and its C."""

_TAPS: Final = 3


def lower(denoiser: nn.Module, graph: GraphSpec, lanes: int) -> Program:
    """The program of a denoiser for vectors of `lanes` floats.

    Raises:
        CannotLower: it is made of what the engine does not know.
    """
    if not isinstance(denoiser, Denoiser) or not isinstance(denoiser.network, MotionUNet):
        raise CannotLower(f"no lowering for {type(getattr(denoiser, 'network', denoiser)).__name__}")
    program = Program(lanes, graph.input_shapes, next(iter(graph.output_shapes.items())))
    with torch.no_grad():
        _Surroundings(program, denoiser, graph).lower()
    return program


class _Surroundings:
    """What `Denoiser` does around its network."""

    def __init__(self, program: Program, denoiser: Denoiser, graph: GraphSpec) -> None:
        self.program, self.denoiser, self.graph = program, denoiser, graph
        self.frames, self.channels = graph.input_shapes["x"]
        self.rhythm_channels = graph.input_shapes["rhythm"][1]
        self.ld = -(-self.channels // program.lanes) * program.lanes
        self.wide = -(-2 * self.channels // program.lanes) * program.lanes

    def lower(self) -> None:
        p, gaussian = self.program, self.denoiser.gaussian
        assert isinstance(self.denoiser.network, MotionUNet)
        frames, channels, floats = self.frames, self.channels, self.frames * self.channels
        steps = len(self.denoiser.alphas_cumprod)
        network = _Network(p, self.denoiser.network, self.graph, steps, _matrix(gaussian.axes))
        network.condition()
        self.levels = p.constant(_matrix(self.denoiser.alphas_cumprod))
        x, t, known, known_mask, real = (p.input(n) for n in ("x", "t", "known", "known_mask", "frame_mask"))
        held = p.buffer(floats)
        p.emit(Kind.HELD, x, t, known, known_mask, real, frames, channels, *self._levels(), held)
        turned = p.buffer(floats)
        axes = _matrix(gaussian.axes)
        product(p, held, 0, channels, frames, axes, turned, 0, channels)
        modes = self._modes(turned)
        self.variances = p.constant(_even_first(_matrix(gaussian.variances)))
        views = p.buffer(frames * self.wide)
        p.emit(Kind.POSTERIOR, *self._with_posterior(modes), self.wide, views)
        transformed = self._transform(views, 2 * channels, self.wide, inverse=True)
        padded = frames + -frames % network.config.factor
        widths = (2 * channels + self.rhythm_channels, channels, channels + 1)
        given = [p.buffer(padded * width) for width in widths]
        p.emit(
            Kind.ASSEMBLED, transformed, known_mask, p.input("prior"), p.input("rhythm"), real, frames, padded,
            channels, self.rhythm_channels, self.wide, *given,
        )  # fmt: skip
        correction = self._modes(network.body(given))
        corrected = p.buffer(frames * self.ld)
        p.emit(Kind.CORRECTED, *self._with_posterior(modes), correction, corrected)
        transformed = self._transform(corrected, channels, self.ld, inverse=True)
        along_axes, x0 = p.buffer(floats), p.buffer(floats)
        p.emit(Kind.UNFOLD, transformed, frames, channels, self.ld, along_axes)
        product(p, along_axes, 0, channels, frames, axes.T, x0, 0, channels)
        eps = int(self.denoiser.prediction is Prediction.EPS)
        p.emit(
            Kind.FINISHED, x0, x, t, known, known_mask, real, frames, channels, eps, *self._levels(), p.result()
        )  # fmt: skip

    def _levels(self) -> tuple[Parameter, ...]:
        return len(self.denoiser.alphas_cumprod), self.levels

    def _with_posterior(self, modes: Buffer) -> tuple[Parameter, ...]:
        steps, levels = self._levels()
        return modes, self.program.input("t"), self.frames, self.channels, self.ld, steps, self.variances, levels

    def _modes(self, x: Buffer) -> Buffer:
        """(T, C) -> modes at stride `ld`."""
        folded = self.program.buffer(self.frames * self.ld)
        self.program.emit(Kind.FOLD, x, self.frames, self.channels, self.ld, folded)
        return self._transform(folded, self.channels, self.ld)

    def _transform(self, x: Buffer, columns: int, ld: int, inverse: bool = False) -> Buffer:
        """Cosine transform of sums and differences of mirrored frames: its rows are even or odd around the middle."""
        cosines, out, at = _matrix(self.denoiser.gaussian.cosines), self.program.buffer(self.frames * ld), 0
        half = self.frames // 2
        for matrix in (cosines[0::2, : self.frames - half], cosines[1::2, :half]):
            size = len(matrix)
            if size:
                left = self.program.constant(matrix.T if inverse else matrix)
                self.program.emit(Kind.LEFT_PRODUCT, size, size, left, x, at, ld, columns, out, at, ld)
            at += size * ld
        return out


class _Network:
    """`MotionUNet`, from the assembled input (T, channels) to its output (T, C)."""

    def __init__(self, program: Program, network: MotionUNet, graph: GraphSpec, steps: int, axes: Matrix) -> None:
        self.program, self.network, self.steps, self.config = program, network, steps, network.config
        self.window = graph.input_shapes["x"][0]
        self.tokens, self.context_dim = graph.input_shapes["context"]
        self.axes = axes
        self.blocks = [m for m in network.modules() if isinstance(m, ResBlock)]
        self.attentions = [m for m in network.modules() if isinstance(m, AttentionBlock)]
        if self.config.kernel_size % 2 == 0:
            raise CannotLower(f"no lowering for convolutions of {self.config.kernel_size} taps")
        self.modulation_at: dict[int, int] = {}

    def condition(self) -> None:
        """What depends on timestep and context alone, for all rows of a call."""
        p, network = self.program, self.network
        width, emb = self.config.model_channels, network.context_embed.out_features
        tokens, dim, context = self.tokens, self.context_dim, p.input("context")
        steps = torch.arange(self.steps)
        table = network.time_embed(sinusoid(steps, width))
        embedded, pooled = p.buffer(emb, "call"), p.buffer(2 * dim, "call")
        p.emit(Kind.EMBEDDING, p.input("t"), len(steps), emb, p.constant(_matrix(table)), embedded, call=True)
        p.emit(Kind.POOL, context, p.input("context_mask"), tokens, dim, pooled, call=True)
        weight, bias = _linear(network.context_embed)
        product(p, pooled, 0, 2 * dim, 1, weight, embedded, 0, emb, bias=bias, residual=embedded, call=True)
        p.emit(Kind.SILU, embedded, emb, embedded, call=True)
        parts = [_linear(block.modulation) for block in self.blocks]
        at = 0
        for block, (_, b) in zip(self.blocks, parts, strict=True):
            self.modulation_at[id(block)] = at
            at += len(b)
        self.modulation = p.buffer(at, "call")
        weight, bias = np.concatenate([w for w, _ in parts], axis=1), np.concatenate([b for _, b in parts])
        product(p, embedded, 0, emb, 1, weight, self.modulation, 0, at, bias=bias, call=True)
        if self.attentions:
            self._keys_and_values(context, tokens, dim)

    def _keys_and_values(self, context: Buffer, tokens: int, dim: int) -> None:
        time = sinusoid(token_frames(tokens - 1, self.config.frames_per_token, torch.device("cpu")), dim)
        position = _matrix(F.pad(time, (0, 0, 0, 1)))
        weights, tables, heads = list[Matrix](), list[Matrix](), list[int]()
        for block in self.attentions:
            attention = block.cross_attention
            key, key_bias = _linear(attention.key)
            value, _ = _linear(attention.value)
            weights += [key, value]
            tables += [position @ key + key_bias, np.zeros((tokens, value.shape[1]))]
            heads += [attention.num_heads, key.shape[1] // attention.num_heads]
        p = self.program
        panels, table = p.panels(np.concatenate(weights, axis=1)), p.columns(np.concatenate(tables, axis=1))
        p.emit(Kind.CONDITION, context, tokens, dim, len(self.attentions), *heads, panels, table, call=True)

    def body(self, given: list[Buffer]) -> Buffer:
        """(T, 2 C + R), (T, C), (T, C + 1), see `Assembled` in kernels/posterior.h, -> (T, C), all with T padded."""
        p, network, config = self.program, self.network, self.config
        frames = self.window + -self.window % config.factor
        positions, width = frames // config.patch_frames, config.model_channels
        h: Map = (p.buffer(positions * width), width)
        self._input_projection(given, positions, h[0])
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
        normed = self._norm(network.norm, [h], positions, Layout.PLAIN)
        weight, bias = _convolution(network.output_proj)
        out = p.buffer(positions * weight.shape[2])
        product(p, normed, 0, h[1], positions, weight[0], out, 0, weight.shape[2], bias=bias)
        return out

    def _input_projection(self, given: list[Buffer], positions: int, out: Buffer) -> None:
        """With the pose axes of the first view, which comes along them. Most rows have no known frames or no prior."""
        weight, bias = _convolution(self.network.input_proj)
        by_frame = weight[0].reshape(self.config.patch_frames, -1, weight.shape[2]).copy()
        channels = self.config.channels
        by_frame[:, :channels] = self.axes.T @ by_frame[:, :channels]
        views, known, prior, rhythm = np.split(by_frame, np.cumsum([2 * channels, channels, channels + 1]), axis=1)
        for i, (x, part) in enumerate(zip(given, (np.concatenate([views, rhythm], axis=1), known, prior), strict=True)):
            matrix = part.reshape(-1, weight.shape[2])
            product(
                self.program, x, 0, len(matrix), positions, matrix, out, 0, weight.shape[2],
                bias=None if i else bias, residual=out if i else None, sparse=i > 0,
            )  # fmt: skip

    def _stage(self, block: nn.Module, maps: list[Map], positions: int) -> Map:
        if not isinstance(block, Stage):
            raise CannotLower(f"no lowering for {type(block).__name__}")
        h = self._residual(block.residual, maps, positions)
        return h if block.attention is None else self._attention(block.attention, h, positions)

    def _residual(self, block: nn.Module, maps: list[Map], positions: int) -> Map:
        assert isinstance(block, ResBlock)
        p, channels = self.program, block.conv1.out_channels
        hidden = self._convolved(block.norm1, maps, positions, block.conv1, None, p.buffer(positions * channels))
        if isinstance(block.skip, nn.Identity):
            residual, out = maps[0][0], p.buffer(positions * channels)
        else:
            weight, bias = _convolution(block.skip)
            residual = out = p.buffer(positions * channels)
            at = 0
            for i, (map_, width) in enumerate(maps):
                product(
                    p, map_, 0, width, positions, weight[0, at : at + width], out, 0, channels,
                    bias=None if i else bias, residual=out if i else None,
                )  # fmt: skip
                at += width
        self._convolved(block.norm2, [(hidden, channels)], positions, block.conv2, residual, out, block)
        return out, channels

    def _convolved(
        self,
        norm: nn.GroupNorm,
        maps: list[Map],
        positions: int,
        conv: nn.Conv2d,
        residual: Buffer | None,
        out: Buffer,
        modulated: ResBlock | None = None,
    ) -> Buffer:
        """Norm, SiLU and a convolution over time that keeps its length, plus `residual`."""
        weight, bias = _convolution(conv)
        taps, inputs, outputs = weight.shape
        p, rest = self.program, residual or ABSENT
        if taps == _TAPS:
            normed = self._norm(norm, maps, positions, Layout.WINOGRAD, modulated=modulated)
            a, b, c = weight
            panels = p.panels(np.stack([a, (a + b + c) / 2, (a - b + c) / 2, c]))
            p.emit(Kind.CONVOLUTION, normed, positions, inputs, outputs, panels, p.columns(bias), rest, out)
        else:
            normed = self._norm(norm, maps, positions, Layout.PADDED, taps // 2, modulated)
            matrix = weight.reshape(-1, outputs)
            product(p, normed, 0, inputs, positions, matrix, out, 0, outputs, bias=bias, residual=residual)
        return out

    def _norm(
        self,
        norm: nn.GroupNorm,
        maps: list[Map],
        positions: int,
        layout: Layout,
        pad: int = 0,
        modulated: ResBlock | None = None,
    ) -> Buffer:
        p, channels = self.program, norm.num_channels
        held = {Layout.PLAIN: positions, Layout.PADDED: positions + 2 * pad, Layout.WINOGRAD: (positions + 1) // 2 * 4}
        out = p.buffer(held[layout] * channels)
        gain, bias = p.constant(_matrix(norm.weight)), p.constant(_matrix(norm.bias))
        scale = (ABSENT,) if modulated is None else (self.modulation, self.modulation_at[id(modulated)])
        pairs = [value for pair in maps for value in pair]
        p.emit(
            Kind.NORM_AND_SILU, positions, norm.num_groups, norm.eps, len(maps), *pairs, gain, bias, *scale, layout,
            pad, out,
        )  # fmt: skip
        return out

    def _attention(self, block: nn.Module, h: Map, positions: int) -> Map:
        """In place: nobody else reads `h`."""
        assert isinstance(block, AttentionBlock)
        p, (x, channels) = self.program, h
        time = torch.arange(positions) * block.ds + (block.ds - 1) / 2
        position = _matrix(sinusoid(time, channels))
        heads = block.self_attention.num_heads
        attention, gain, shift = block.self_attention, _matrix(block.self_norm.weight), _matrix(block.self_norm.bias)
        normed = self._layer_norm(block.self_norm, x, positions, channels)
        query, query_table = _query(attention, gain, shift + position)
        key, key_bias = _linear(attention.key)
        value, value_bias = _linear(attention.value)
        weight = np.concatenate([query, gain[:, None] * key, gain[:, None] * value], axis=1)
        table = np.concatenate([query_table, (shift + position) @ key + key_bias, np.zeros_like(query_table)], axis=1)
        joined, attended = p.buffer(3 * positions * channels), p.buffer(positions * channels)
        product(p, normed, 0, channels, positions, weight, joined, 0, 3 * channels, table=table)
        mask = (p.input("frame_mask"), block.ds, self.window)
        p.emit(Kind.SELF_ATTENTION, joined, positions, heads, channels // heads, *mask, attended)
        self._projected(attention, attended, positions, shift @ value + value_bias, x)

        attention, gain, shift = block.cross_attention, _matrix(block.cross_norm.weight), _matrix(block.cross_norm.bias)
        normed = self._layer_norm(block.cross_norm, x, positions, channels)
        query, query_table = _query(attention, gain, shift + position)
        queries, attended = p.buffer(positions * channels), p.buffer(positions * channels)
        product(p, normed, 0, channels, positions, query, queries, 0, channels, table=query_table)
        number = next(i for i, each in enumerate(self.attentions) if each is block)
        mask = (p.input("context_mask"), 1, self.tokens)
        p.emit(Kind.CROSS_ATTENTION, queries, positions, number, *mask, attended)
        self._projected(attention, attended, positions, _linear(attention.value)[1], x)
        return h

    def _layer_norm(self, norm: nn.LayerNorm, x: Buffer, positions: int, channels: int) -> Buffer:
        out = self.program.buffer(positions * channels)
        self.program.emit(Kind.LAYER_NORM, x, positions, channels, norm.eps, out)
        return out

    def _projected(self, attention: Attention, attended: Buffer, positions: int, value: Matrix, x: Buffer) -> None:
        """x += the output projection, with what is the same in all values in its bias."""
        weight, bias = _linear(attention.output)
        channels = weight.shape[1]
        bias = value @ weight + bias
        product(self.program, attended, 0, channels, positions, weight, x, 0, channels, bias=bias, residual=x)

    def _downsample(self, block: Downsample, h: Map, positions: int) -> Map:
        p, (x, channels) = self.program, h
        weight, bias = _convolution(block.conv)
        padded, out = self._padded(x, positions, channels), p.buffer(positions // 2 * channels)
        matrix = weight.reshape(-1, channels)
        product(p, padded, 0, 2 * channels, positions // 2, matrix, out, 0, channels, bias=bias)
        return out, channels

    def _upsample(self, block: Upsample, h: Map, positions: int) -> Map:
        """Two of three taps see the same frame: output 2 j is of j - 1 and j, 2 j + 1 of j and j + 1."""
        p, (x, channels) = self.program, h
        (before, here, after), bias = _convolution(block.conv)
        padded, out = self._padded(x, positions, channels), p.buffer(2 * positions * channels)
        for odd, pair in enumerate(((before, here + after), (before + here, after))):
            at = odd * channels
            product(p, padded, at, channels, positions, np.concatenate(pair), out, at, 2 * channels, bias=bias)
        return out, channels

    def _padded(self, x: Buffer, positions: int, channels: int) -> Buffer:
        out = self.program.buffer((positions + 2) * channels)
        self.program.emit(Kind.PAD, x, positions, channels, 1, 1, out)
        return out


def product(
    program: Program,
    a: Buffer,
    a_at: int,
    lda: int,
    positions: int,
    weight: Matrix,
    out: Buffer,
    out_at: int,
    ldo: int,
    *,
    bias: Matrix | None = None,
    table: Matrix | None = None,
    residual: Buffer | None = None,
    sparse: bool = False,
    call: bool = False,
) -> None:
    """out = a weight (+ bias) (+ table) (+ residual): rows of `a` begin every `lda` floats, `weight` is (K, N).

    Args:
        sparse: where all of a row of `a` is zero, `out` is left as it is; it is the residual, too.
    """
    k, n = weight.shape
    panels = program.panels(weight)
    extra: list[int | Weights] = [ABSENT if v is None else program.columns(v) for v in (bias, table)]
    rest = ABSENT if residual is None else residual
    program.emit(
        Kind.PRODUCT, a, a_at, lda, positions, k, n, panels, *extra, rest, out, out_at, ldo, int(sparse), call=call
    )


def _query(attention: Attention, gain: Matrix, offset: Matrix) -> tuple[Matrix, Matrix]:
    """Weight and table (T, C) of scaled queries to `gain * x + offset`."""
    weight, bias = _linear(attention.query)
    scale = (weight.shape[1] // attention.num_heads) ** -0.5
    return gain[:, None] * weight * scale, (offset @ weight + bias) * scale


def _linear(layer: nn.Linear) -> tuple[Matrix, Matrix]:
    """Weight (in, out) and bias (out)."""
    return _matrix(layer.weight).T, _matrix(layer.bias)


def _convolution(layer: nn.Module) -> tuple[Matrix, Matrix]:
    """Weight (taps, in, out) and bias (out) of a convolution (1, taps)."""
    assert isinstance(layer, nn.Conv2d)
    assert layer.bias is not None
    return _matrix(layer.weight)[:, :, 0].transpose(2, 1, 0), _matrix(layer.bias)


def _even_first(modes: Matrix) -> Matrix:
    return np.concatenate([modes[0::2], modes[1::2]])


def _matrix(values: Tensor) -> Matrix:
    return np.asarray(values.detach().cpu().double().numpy())
