"""The programmatic use of the source document: a motion, its key poses and their frames."""

from pathlib import Path

import numpy as np
import pytest
import torch
from small_composite import CODES, save_small_composite, small_composite
from small_network import save_small

from choreo.errors import InvalidArtifact, InvalidInput
from choreo.generators.base import Conditioning, GenerationRequest
from choreo.generators.composite.model import CompositeNetwork
from choreo.generators.composite.programmatic import Composite

FEW = GenerationRequest(num_steps=2)


def test_a_checkpoint_dances(tmp_path: Path) -> None:
    composite = Composite.load(save_small_composite(tmp_path))
    motion, keyframes, frames = composite.generate(length=120, request=FEW)
    assert motion.shape == (120, 22, 3)
    np.testing.assert_array_equal(frames, np.arange(0, 120, 16))
    assert np.linalg.norm(motion[frames] - keyframes, axis=-1).max() < 0.03
    heard = Conditioning(60, np.ones((60, 35), np.float32), beats=np.arange(0, 2, 0.5), onset=np.ones(60, np.float32))
    assert {0, 15, 30, 45} <= set(composite.generate(length=60, heard=heard, request=FEW).frames)


def test_a_length_that_nobody_gave_is_the_language_models(tmp_path: Path) -> None:
    network = small_composite()
    with torch.no_grad():
        network.gpt.logits.weight.zero_()
        network.gpt.logits.bias.zero_()
        network.gpt.logits.bias[CODES] = 1.0
    composite = Composite(network)
    made = [composite.generate(length=None, request=GenerationRequest(num_steps=1, seed=seed)) for seed in range(4)]
    lengths = [len(each.motion) for each in made]
    assert min(lengths) >= 32
    assert len(set(lengths)) > 1
    assert all(each.frames.max() < len(each.motion) for each in made)
    assert len(composite.generate(length=None, request=FEW, max_length=33).motion) <= 36


def test_lengths_and_checkpoints_that_cannot_be_are_refused(tmp_path: Path) -> None:
    composite = Composite(small_composite())
    for length in (0, -5, 3600 * 30 + 1):
        with pytest.raises(InvalidInput, match="length: must be from 1 to 108000 frames"):
            composite.generate(length=length)
    with pytest.raises(InvalidInput, match="min_length: is 60 frames, more than the 50 of max_length"):
        composite.generate(length=None, min_length=60, max_length=50)
    with pytest.raises(InvalidArtifact, match="of the family unet, not a composite one"):
        Composite.load(save_small(tmp_path))
    assert isinstance(composite.network, CompositeNetwork)
