"""Single operators of the compiled engine against NumPy."""

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from native_engine import needs_compiler
from numpy.typing import NDArray
from torch.nn import functional as F

from export.native.blocks import product
from export.native.compiling import compiled
from export.native.loader import NativeSession
from export.native.package import lanes_of, write_native
from export.native.program import ABSENT, Layout, Program

pytestmark = needs_compiler

ROWS = 8
few = settings(max_examples=25, deadline=None)
Build = Callable[[Program], None]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., NDArray[np.float32]]:
    """Evaluates a program with the output `y`."""
    folder, number = tmp_path_factory.mktemp("native"), itertools.count()

    def evaluate(build: Build, shape: tuple[int, ...], **inputs: NDArray) -> NDArray[np.float32]:
        program = Program(lanes_of(compiled()), {k: v.shape[1:] for k, v in inputs.items()}, ("y", shape))
        program.constant(np.zeros(1))
        build(program)
        here = Path(folder / str(next(number)))
        write_native(compiled(), program, here)
        session = NativeSession(here)
        (out,) = session.run(["y"], {k: v.astype(np.float32) for k, v in inputs.items()})
        session.close()
        return out

    return evaluate


def random(*shape: int, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(size=shape)


def close(actual: NDArray, expected: NDArray, tolerance: float = 1e-4) -> None:
    atol = tolerance * max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=atol)


def silu(x: NDArray) -> NDArray:
    return x / (1 + np.exp(-x))


class TestProducts:
    @few
    @given(
        positions=st.integers(1, 60), k=st.integers(1, 70), n=st.integers(1, 70), bias=st.booleans(),
        table=st.booleans(), residual=st.booleans(),
    )  # fmt: skip
    def test_with_bias_table_and_residual(
        self, run: Callable[..., NDArray], positions: int, k: int, n: int, bias: bool, table: bool, residual: bool
    ) -> None:
        a, w, b, t, r = (
            random(ROWS, positions, k),
            random(k, n),
            random(n),
            random(positions, n),
            random(ROWS, positions, n),
        )

        def build(p: Program) -> None:
            rest = p.input("r") if residual else None
            product(
                p, p.input("a"), 0, k, positions, w, p.result(), 0, n, bias=b if bias else None,
                table=t if table else None, residual=rest,
            )  # fmt: skip

        close(run(build, (positions, n), a=a, r=r), a @ w + b * bias + t * table + r * residual)

    @few
    @given(frames=st.integers(3, 40), channels=st.integers(1, 40), n=st.integers(1, 40), stride=st.integers(1, 2))
    def test_overlapping_rows_are_a_convolution(
        self, run: Callable[..., NDArray], frames: int, channels: int, n: int, stride: int
    ) -> None:
        x, w = random(ROWS, frames, channels), random(3, channels, n)
        count = (frames - 3) // stride + 1

        def build(p: Program) -> None:
            product(p, p.input("x"), 0, stride * channels, count, w.reshape(-1, n), p.result(), 0, n)

        expected = np.stack(
            [np.einsum("rtc,tcn->rn", x[:, stride * i : stride * i + 3], w) for i in range(count)], axis=1
        )
        close(run(build, (count, n), x=x), expected)

    @few
    @given(m=st.integers(1, 40), k=st.integers(1, 40), n=st.integers(1, 70))
    def test_a_constant_left_operand(self, run: Callable[..., NDArray], m: int, k: int, n: int) -> None:
        ld = -(-n // lanes_of(compiled())) * lanes_of(compiled())
        left, b = random(m, k), random(ROWS, k, ld)

        def build(p: Program) -> None:
            p.emit("left_product", m, k, p.constant(left), p.input("b"), 0, ld, n, p.result(), 0, n)

        close(run(build, (m, n), b=b), left @ b[..., :n])

    @few
    @given(positions=st.integers(1, 20), k=st.integers(1, 40), n=st.integers(1, 40), seed=st.integers(0, 99))
    def test_sparse_rows_are_left_unchanged(
        self, run: Callable[..., NDArray], positions: int, k: int, n: int, seed: int
    ) -> None:
        a, w, r = random(ROWS, positions, k), random(k, n), random(ROWS, positions, n)
        a[np.random.default_rng(seed).random(ROWS) < 0.5] = 0
        a[0] = 0
        a[0, -1, -1] = 1e-30

        def build(p: Program) -> None:
            out = p.buffer(positions * n)
            p.emit("pad", p.input("r"), positions, n, 0, 0, out)
            product(p, p.input("a"), 0, k, positions, w, out, 0, n, residual=out, sparse=True)
            p.emit("pad", out, positions, n, 0, 0, p.result())

        close(run(build, (positions, n), a=a, r=r), a @ w + r)


class TestNorms:
    @few
    @given(
        frames=st.integers(1, 30), groups=st.integers(1, 4), widths=st.lists(st.integers(1, 9), min_size=1, max_size=2),
        modulated=st.booleans(), layout=st.sampled_from(Layout),
    )  # fmt: skip
    def test_group_norm_and_what_follows(
        self, run: Callable[..., NDArray], frames: int, groups: int, widths: list[int], modulated: bool, layout: Layout
    ) -> None:
        widths = [groups * width for width in widths]
        channels, tiles = sum(widths), (frames + 1) // 2
        maps = {f"x{i}": random(ROWS, frames, width, seed=i) + 1 for i, width in enumerate(widths)}
        gain, bias, scale = random(channels), random(channels, seed=1), random(ROWS, 2 * channels, seed=2)
        count = {Layout.PLAIN: frames, Layout.PADDED: frames + 4, Layout.WINOGRAD: 4 * tiles}[layout]

        def build(p: Program) -> None:
            pairs = [value for i, width in enumerate(widths) for value in (p.input(f"x{i}"), width)]
            how = (p.input("s"), 0) if modulated else (ABSENT,)
            p.emit(
                "norm_and_silu", frames, groups, 1e-5, len(widths), *pairs, p.constant(gain), p.constant(bias), *how,
                layout, 2, p.result(),
            )  # fmt: skip

        x = torch.from_numpy(np.concatenate(list(maps.values()), axis=2)).transpose(1, 2)
        normed = F.group_norm(x, groups, torch.from_numpy(gain), torch.from_numpy(bias), 1e-5).transpose(1, 2).numpy()
        if modulated:
            normed = normed * (1 + scale[:, None, :channels]) + scale[:, None, channels:]
        s, out = silu(normed), run(build, (count, channels), s=scale, **maps)
        if layout is Layout.PLAIN:
            close(out, s)
        elif layout is Layout.PADDED:
            close(out, np.pad(s, ((0, 0), (2, 2), (0, 0))))
        else:
            padded = np.pad(s, ((0, 0), (1, 3), (0, 0)))
            d = [padded[:, i : i + 2 * tiles : 2] for i in range(4)]
            close(out, np.concatenate([d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]], axis=1))

    @few
    @given(frames=st.integers(1, 9), channels=st.integers(1, 70))
    def test_layer_norm(self, run: Callable[..., NDArray], frames: int, channels: int) -> None:
        x = random(ROWS, frames, channels) + 2

        def build(p: Program) -> None:
            p.emit("layer_norm", p.input("x"), frames, channels, 1e-5, p.result())

        close(run(build, (frames, channels), x=x), F.layer_norm(torch.from_numpy(x), (channels,)).numpy())


class TestConvolution:
    @few
    @given(frames=st.integers(1, 60), channels=st.integers(1, 40), n=st.integers(1, 70), residual=st.booleans())
    def test_three_taps(self, run: Callable[..., NDArray], frames: int, channels: int, n: int, residual: bool) -> None:
        s, w, b = random(ROWS, frames, channels), random(3, channels, n), random(n)
        rest, tiles = random(ROWS, frames, n), (frames + 1) // 2
        padded = np.pad(s, ((0, 0), (1, 3), (0, 0)))
        d = [padded[:, i : i + 2 * tiles : 2] for i in range(4)]
        transformed = np.concatenate([d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]], axis=1)
        panels = np.stack([w[0], w.sum(0) / 2, (w[0] - w[1] + w[2]) / 2, w[2]])

        def build(p: Program) -> None:
            r = p.input("r") if residual else ABSENT
            p.emit("convolution", p.input("u"), frames, channels, n, p.panels(panels), p.columns(b), r, p.result())

        expected = sum(padded[:, i : i + frames] @ w[i] for i in range(3)) + b + rest * residual
        close(run(build, (frames, n), u=transformed, r=rest), expected)


class TestAttention:
    @few
    @given(
        frames=st.integers(1, 120), heads=st.integers(1, 3), d=st.integers(1, 40), stride=st.integers(1, 3),
        scale=st.sampled_from([0.1, 1.0, 40.0]),
    )  # fmt: skip
    def test_self_attention(
        self, run: Callable[..., NDArray], frames: int, heads: int, d: int, stride: int, scale: float
    ) -> None:
        x = random(ROWS, frames, 3 * heads * d) * scale**0.5
        mask = (random(ROWS, frames * stride - stride // 2) > -0.5).astype(np.float64)

        def build(p: Program) -> None:
            p.emit("self_attention", p.input("x"), frames, heads, d, p.input("m"), stride, mask.shape[1], p.result())

        q, k, v = (torch.from_numpy(part).unflatten(2, (heads, d)).transpose(1, 2) for part in np.split(x, 3, axis=2))
        there = np.pad(mask, ((0, 0), (0, stride)))[:, : frames * stride : stride]
        bias = torch.from_numpy((1 - there) * -1e4)[:, None, None]
        expected = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=1.0).transpose(1, 2).flatten(2)
        # The exponents of the softmax grow with the scale, and their rounding with them. Where no frame is there, all
        # are near -1e4, where single precision is 1e-3.
        rounding = 1e-4 if there.any(axis=1).all() else 1e-3
        close(run(build, (frames, heads * d), x=x, m=mask), expected.numpy(), rounding * max(1.0, scale / 4))


@few
@given(frames=st.integers(1, 40), channels=st.integers(1, 20))
def test_unfolding_inverts_folding(run: Callable[..., NDArray], frames: int, channels: int) -> None:
    x = random(ROWS, frames, channels)

    def build(p: Program) -> None:
        folded = p.buffer(frames * channels)
        p.emit("fold", p.input("x"), frames, channels, channels, folded)
        p.emit("unfold", folded, frames, channels, channels, p.result())

    expected = 2 * x
    if frames % 2:
        expected[:, frames // 2] /= 2
    close(run(build, (frames, channels), x=x), expected)


@few
@given(st.lists(st.floats(-(2**14), 2**14, width=32), min_size=1, max_size=40))
def test_silu(run: Callable[..., NDArray], values: list[float]) -> None:
    x = np.array([values] * ROWS)

    def build(p: Program) -> None:
        p.emit("silu", p.input("x"), len(values), p.result())

    with np.errstate(over="ignore"):
        expected = silu(x)
    np.testing.assert_allclose(run(build, (len(values),), x=x), expected, rtol=2e-6, atol=1e-32)
