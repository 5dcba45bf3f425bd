"""The causal transformer: no future, a cache that equals full attention, and sequences beyond its context."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from choreo.models.causal_transformer import CausalTransformer


def small(context: int = 8, layers: int = 3) -> CausalTransformer:
    torch.manual_seed(0)
    network = CausalTransformer(16, layers, 2, context, dropout=0.2).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return network


@torch.no_grad()
def by_steps(network: CausalTransformer, x: torch.Tensor) -> torch.Tensor:
    """One vector at a time, with a cache whose oldest entry is overwritten."""
    count, context = x.shape[1], network.context
    cache = torch.zeros(len(x), 2 * len(network.blocks), context, x.shape[2])
    mask, out = torch.zeros(len(x), context), []
    for i in range(count):
        made, entry = network.step(x[:, i], torch.full((len(x), 1), float(i)), cache, mask)
        cache[:, :, i % context], mask[:, i % context] = entry, 1
        out.append(made)
    return torch.stack(out, dim=1)


@given(count=st.integers(1, 30), context=st.integers(1, 12), rows=st.integers(1, 3), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_the_cache_equals_full_attention(count: int, context: int, rows: int, seed: int) -> None:
    """Also where the sequence is longer than the cache."""
    network = small(context)
    torch.manual_seed(seed)
    x = torch.randn(rows, count, 16)
    with torch.no_grad():
        whole = network(x)
    torch.testing.assert_close(by_steps(network, x), whole, atol=2e-4, rtol=1e-4)


@torch.no_grad()
def test_the_future_is_not_seen() -> None:
    network, x = small(), torch.randn(1, 12, 16)
    other = x.clone()
    other[:, 7:] = torch.randn(1, 5, 16)
    before, after = network(x), network(other)
    torch.testing.assert_close(before[:, :7], after[:, :7])
    assert (before[:, 7:] - after[:, 7:]).abs().amax(dim=2).min() > 1e-4


@torch.no_grad()
def test_what_lies_before_the_context_of_every_layer_is_not_seen() -> None:
    """The control of the banded mask: three layers of two see six before, and no more."""
    network, x = small(context=2), torch.randn(1, 12, 16)
    other = x.clone()
    other[:, 0] = torch.randn(16)
    difference = (network(x) - network(other)).abs().amax(dim=2)[0]
    assert difference[:7].min() > 1e-4
    assert difference[7:].max() < 1e-5


@torch.no_grad()
def test_only_distances_count() -> None:
    network, x = small(), torch.randn(2, 16)
    cache = torch.zeros(2, 6, 8, 16)
    first, _ = network.step(x, torch.zeros(2, 1), cache, torch.zeros(2, 8))
    later, _ = network.step(x, torch.full((2, 1), 27_000.0), cache, torch.zeros(2, 8))
    torch.testing.assert_close(first, later, atol=1e-5, rtol=1e-5)


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match="twice the 3 heads"):
        CausalTransformer(16, 1, 3, 4)
