"""Causal networks: nothing of the future, nothing of other samples, and attention that is over time."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from choreo.models.causal import CausalAttention, CausalConvolution, CausalDecoderLayer, Positions
from choreo.models.sequence_vae import SequenceVae

FRAMES, WIDTH = 12, 16


def networks() -> dict[str, Callable[[Tensor], Tensor]]:
    torch.manual_seed(0)
    attention, layer = CausalAttention(WIDTH, 4), CausalDecoderLayer(WIDTH, 4, 32, 0.0)
    convolution, positions = CausalConvolution(WIDTH, WIDTH), Positions(WIDTH)
    vae = SequenceVae(WIDTH, WIDTH, 16, 4, 8, 8)
    noise = torch.randn(1, FRAMES, 8)
    return {
        "attention": lambda x: attention(positions(x), x),
        "decoder": lambda x: layer(x, torch.zeros_like(x)),
        "memory": lambda x: layer(torch.zeros_like(x), x),
        "convolution": convolution,
        "vae": lambda x: vae(x, noise.expand(len(x), -1, -1))[0],
    }


@pytest.mark.parametrize("name", networks())
@torch.no_grad()
def test_the_future_changes_nothing(name: str) -> None:
    network, x = networks()[name], torch.randn(2, FRAMES, WIDTH)
    for at in range(1, FRAMES):
        other = x.clone()
        other[:, at:] += torch.randn(2, FRAMES - at, WIDTH)
        torch.testing.assert_close(network(other)[:, :at], network(x)[:, :at])
        assert (network(other)[:, at:] - network(x)[:, at:]).abs().max() > 1e-4


@pytest.mark.parametrize("name", networks())
@torch.no_grad()
def test_a_sample_does_not_depend_on_the_others(name: str) -> None:
    network, x = networks()[name], torch.randn(3, FRAMES, WIDTH)
    torch.testing.assert_close(network(x)[1:2], network(x[1:2]), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_attention_reads_earlier_frames() -> None:
    attention, x = CausalAttention(WIDTH, 4), torch.randn(1, FRAMES, WIDTH)
    other = x.clone()
    other[:, 0] += 3
    assert (attention(other, other) - attention(x, x))[:, -1].abs().max() > 1e-4


def test_positions_are_those_in_time() -> None:
    out = Positions(WIDTH)(torch.zeros(3, FRAMES, WIDTH))
    assert torch.equal(out[0], out[2])
    assert not torch.allclose(out[0, 1], out[0, 2])
