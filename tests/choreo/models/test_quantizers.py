"""Quantisers: tokens and back, codes that stay among the data, and codes that die."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from choreo.models.quantizers import FiniteScalarQuantizer, VectorQuantizer


def ones(latents: torch.Tensor) -> torch.Tensor:
    return torch.ones(latents.shape[:2])


@given(
    codes=st.integers(2, 40), vectors=st.integers(1, 60), scale=st.floats(1e-3, 1e3), seed=st.integers(0, 99),
    steps=st.integers(1, 30),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_codes_never_leave_the_data(codes: int, vectors: int, scale: float, seed: int, steps: int) -> None:
    """Not by norm and not by any coordinate, however few vectors there are for however many codes."""
    torch.manual_seed(seed)
    quantizer = VectorQuantizer(codes, 3).train()
    seen = []
    for _ in range(steps):
        batch = torch.randn(1, vectors, 3) * scale + scale
        quantizer(batch, ones(batch))
        seen.append(batch[0])
    data = torch.cat(seen)
    assert quantizer.codebook.norm(dim=1).max() <= data.norm(dim=1).max() * (1 + 1e-4)
    assert (quantizer.codebook <= data.amax(0) + 1e-4 * scale).all()
    assert (quantizer.codebook >= data.amin(0) - 1e-4 * scale).all()
    assert quantizer.counts.min() > 0


def test_a_code_that_nobody_chooses_gets_a_new_place() -> None:
    torch.manual_seed(0)
    quantizer = VectorQuantizer(32, 2).train()
    near = torch.randn(4, 64, 2) * 0.01
    quantizer(near, ones(near))
    used = []
    for _ in range(120):
        spread = torch.randn(4, 64, 2) * 5
        tokens = quantizer(spread, ones(spread)).tokens
        used.append(len(tokens.unique()))
    assert used[-1] >= 28


def test_the_codebook_finds_clusters() -> None:
    torch.manual_seed(1)
    centres = torch.tensor([[10.0, 0], [-10, 0], [0, 10], [0, -10]])
    quantizer = VectorQuantizer(8, 2).train()
    for _ in range(400):
        batch = centres[torch.randint(4, (1, 128))] + torch.randn(1, 128, 2) * 0.1
        made = quantizer(batch, ones(batch))
    assert float(made.commitment) < 0.1
    assert torch.cdist(centres, quantizer.codebook).amin(1).max() < 0.5


def test_padding_teaches_nothing_and_evaluation_changes_nothing() -> None:
    torch.manual_seed(0)
    quantizer = VectorQuantizer(4, 2).train()
    batch = torch.randn(1, 16, 2)
    quantizer(batch, ones(batch))
    before = quantizer.codebook.clone()
    quantizer(torch.full((1, 16, 2), 100.0), torch.zeros(1, 16))
    torch.testing.assert_close(quantizer.codebook, before)
    quantizer.eval()(torch.full((1, 16, 2), 100.0), torch.ones(1, 16))
    torch.testing.assert_close(quantizer.codebook, before)


def test_gradients_pass_straight_through() -> None:
    for quantizer in (VectorQuantizer(4, 3).train(), FiniteScalarQuantizer((8, 5, 3))):
        latents = torch.randn(2, 5, 3, requires_grad=True)
        made = quantizer(latents, torch.ones(2, 5))
        made.vectors.sum().backward()
        assert latents.grad is not None
        assert latents.grad.abs().min() > 0


@given(levels=st.lists(st.integers(2, 9), min_size=1, max_size=4), seed=st.integers(0, 50))
@settings(max_examples=50, deadline=None)
def test_every_token_of_a_grid_comes_back(levels: list[int], seed: int) -> None:
    torch.manual_seed(seed)
    quantizer = FiniteScalarQuantizer(levels)
    tokens = torch.arange(math.prod(levels))
    points = quantizer.vectors(tokens)
    assert len(points.unique(dim=0)) == len(tokens)
    latents = torch.randn(3, 40, len(levels)) * 3
    made = quantizer(latents, torch.ones(3, 40))
    torch.testing.assert_close(quantizer.vectors(made.tokens), made.vectors.detach(), atol=1e-5, rtol=0)
    assert made.tokens.min() >= 0
    assert made.tokens.max() < len(tokens)


@pytest.mark.parametrize("level", [2, 3, 5, 8])
def test_all_levels_of_a_grid_are_reached(level: int) -> None:
    quantizer = FiniteScalarQuantizer([level])
    latents = torch.linspace(-8, 8, 2000)[None, :, None]
    assert len(quantizer(latents, torch.ones(1, 2000)).tokens.unique()) == level
