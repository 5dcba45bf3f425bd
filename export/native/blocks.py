"""Building blocks of lowerings: emit the operators of layers that many networks have.

Feature maps are (T, C) with contiguous channels; weights are those of torch's layers.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from export.native.program import ABSENT, Buffer, CannotLower, Layout, Program, Weights

Matrix = NDArray[np.float64]

FeatureMap = tuple[Buffer, int]
"""A feature map (T, C) and its C."""

Modulation = tuple[Buffer, int]
"""A buffer, and the offset in it of C scales followed by C shifts."""

_WINOGRAD_TAPS: Final = 3


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
    """out = a weight (+ bias) (+ table) (+ residual), for `positions` rows of `a`.

    Args:
        a: rows start every `lda` floats from offset `a_at`; overlapping rows make the product a convolution.
        weight: (K, N).
        out: rows start every `ldo` floats from offset `out_at`.
        bias: (N).
        table: (positions, N).
        residual: (positions, N); may be `out` itself.
        sparse: leave `out` unchanged where `a` is all zero. `out` must be the residual.
        call: see `Program.emit`.
    """
    k, n = weight.shape
    panels = program.panels(weight)
    extra: list[int | Weights] = [ABSENT if v is None else program.columns(v) for v in (bias, table)]
    rest = ABSENT if residual is None else residual
    program.emit(
        "product", a, a_at, lda, positions, k, n, panels, *extra, rest, out, out_at, ldo, int(sparse), call=call
    )


def left_product(program: Program, left: Matrix, x: Buffer, at: int, ld: int, columns: int, out: Buffer) -> None:
    """out = left x, for a matrix (M, K). Rows of `x` and `out` start every `ld` floats, whole vectors, from `at`."""
    m, k = left.shape
    program.emit("left_product", m, k, program.constant(left), x, at, ld, columns, out, at, ld)


def padded(program: Program, x: Buffer, positions: int, channels: int, before: int, after: int) -> Buffer:
    """A feature map with zeros before and after it."""
    out = program.buffer((before + positions + after) * channels)
    program.emit("pad", x, positions, channels, before, after, out)
    return out


def layer_norm(program: Program, norm: nn.LayerNorm, x: Buffer, positions: int, channels: int) -> Buffer:
    """(x - mean) / deviation; gain and bias have to be part of the weights that follow."""
    out = program.buffer(positions * channels)
    program.emit("layer_norm", x, positions, channels, norm.eps, out)
    return out


def norm_and_silu(
    program: Program,
    norm: nn.GroupNorm,
    maps: list[FeatureMap],
    positions: int,
    layout: Layout = Layout.PLAIN,
    pad: int = 0,
    modulation: Modulation | None = None,
) -> Buffer:
    """Group norm over one or two concatenated maps, modulation and SiLU, in the layout that the next operator needs."""
    channels = norm.num_channels
    rows = {Layout.PLAIN: positions, Layout.PADDED: positions + 2 * pad, Layout.WINOGRAD: (positions + 1) // 2 * 4}
    out = program.buffer(rows[layout] * channels)
    gain, bias = program.constant(array(norm.weight)), program.constant(array(norm.bias))
    sources = [value for pair in maps for value in pair]
    program.emit(
        "norm_and_silu", positions, norm.num_groups, norm.eps, len(maps), *sources, gain, bias,
        *(modulation or (ABSENT,)), layout, pad, out,
    )  # fmt: skip
    return out


def norm_and_convolution(
    program: Program,
    norm: nn.GroupNorm,
    maps: list[FeatureMap],
    positions: int,
    conv: nn.Module,
    out: Buffer,
    *,
    residual: Buffer | None = None,
    modulation: Modulation | None = None,
) -> Buffer:
    """Group norm, SiLU and a convolution over time that keeps the length, plus `residual`; returns `out`.

    Three taps are computed by Winograd's F(2, 3) (Lavin & Gray 2016), any other odd number by one product.

    Raises:
        CannotLower: the number of taps is even.
    """
    weight, bias = convolution(conv)
    taps, inputs, outputs = weight.shape
    if taps % 2 == 0:
        raise CannotLower(f"no lowering for convolutions of {taps} taps")
    if taps == _WINOGRAD_TAPS:
        normed = norm_and_silu(program, norm, maps, positions, Layout.WINOGRAD, modulation=modulation)
        a, b, c = weight
        panels = program.panels(np.stack([a, (a + b + c) / 2, (a - b + c) / 2, c]))
        rest = ABSENT if residual is None else residual
        program.emit("convolution", normed, positions, inputs, outputs, panels, program.columns(bias), rest, out)
    else:
        normed = norm_and_silu(program, norm, maps, positions, Layout.PADDED, taps // 2, modulation)
        matrix = weight.reshape(-1, outputs)
        product(program, normed, 0, inputs, positions, matrix, out, 0, outputs, bias=bias, residual=residual)
    return out


def linear(layer: nn.Linear) -> tuple[Matrix, Matrix]:
    """Weight (in, out) and bias (out) of a linear layer."""
    return array(layer.weight).T, array(layer.bias)


def convolution(layer: nn.Module) -> tuple[Matrix, Matrix]:
    """Weight (taps, in, out) and bias (out) of a convolution (1, taps).

    Raises:
        CannotLower: the layer is not such a convolution, or has no bias.
    """
    if not isinstance(layer, nn.Conv2d) or layer.bias is None or layer.kernel_size[0] != 1:
        raise CannotLower(f"no lowering for {layer} as a convolution over time with a bias")
    return array(layer.weight)[:, :, 0].transpose(2, 1, 0), array(layer.bias)


def array(values: Tensor) -> Matrix:
    """A tensor in float64."""
    return np.asarray(values.detach().cpu().double().numpy())
