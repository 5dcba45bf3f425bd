"""BeatNet in NumPy: equal to the same layers in torch, whatever the weights, and to the published activations."""

from pathlib import Path

import numpy as np
import pytest
import torch
from pulses import pulses
from safetensors.numpy import save_file

from choreo.errors import InvalidArtifact, MissingDependency
from choreo.music.beat_tracking import beatnet
from choreo.music.beat_tracking.beatnet import SHAPES, BeatNet
from choreo.music.beat_tracking.spectrum import SAMPLE_RATE, log_spectrum

NETWORKS = 2


def random_weights() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {name: rng.normal(0, 0.2, (NETWORKS, *shape)).astype(np.float32) for name, shape in SHAPES.items()}


def in_torch(weights: dict[str, torch.Tensor], spectrum: torch.Tensor) -> torch.Tensor:
    """Probabilities (T, 3) of one network."""
    functional = torch.nn.functional
    x = functional.conv1d(spectrum[:, None], weights["conv.weight"][:, None], weights["conv.bias"])
    x = functional.max_pool1d(functional.relu(x), 2).flatten(1)
    x = functional.linear(x, weights["linear.weight"], weights["linear.bias"])
    lstm = torch.nn.LSTM(150, 150, 2)
    state = {}
    for layer in (0, 1):
        state[f"weight_ih_l{layer}"] = weights[f"lstm.{layer}.input"]
        state[f"weight_hh_l{layer}"] = weights[f"lstm.{layer}.hidden"]
        state[f"bias_ih_l{layer}"] = weights[f"lstm.{layer}.bias"]
        state[f"bias_hh_l{layer}"] = torch.zeros(600)
    lstm.load_state_dict(state)
    x, _ = lstm(x)
    return torch.softmax(functional.linear(x, weights["out.weight"], weights["out.bias"]), -1)


@pytest.mark.parametrize("frames", [1, 2, 3000])
def test_equals_torch(frames: int) -> None:
    weights = random_weights()
    spectrum = np.random.default_rng(1).uniform(0, 1.5, (frames, 272)).astype(np.float32)
    with torch.no_grad():
        expected = [
            in_torch({name: torch.from_numpy(array[i]) for name, array in weights.items()}, torch.from_numpy(spectrum))
            for i in range(NETWORKS)
        ]
    activations = BeatNet(weights).activations(spectrum)
    assert (activations.shape, activations.dtype) == ((frames, 2), np.float32)
    np.testing.assert_allclose(activations, torch.stack(expected).mean(0)[:, :2], atol=2e-5)


def test_the_published_activations() -> None:
    activations = BeatNet.shipped().activations(log_spectrum(pulses(SAMPLE_RATE)))
    published = [[0.0671, 0.0446], [0.1409, 0.7583], [0.1671, 0.2526], [0.3086, 0.4623], [0.1688, 0.071]]
    np.testing.assert_allclose(activations[[0, 12, 13, 25, 26]], published, atol=2e-3)  # weights are stored as float16


def test_no_frames() -> None:
    assert BeatNet(random_weights()).activations(np.zeros((0, 272), np.float32)).shape == (0, 2)


def test_broken_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingDependency, match="missing"):
        beatnet.read_weights(tmp_path / "none.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"broken")
    with pytest.raises(InvalidArtifact, match=r"broken\.safetensors"):
        beatnet.read_weights(tmp_path / "broken.safetensors")
    weights = random_weights()
    weights["out.bias"] = weights["out.bias"][:, :2]
    save_file({name: np.ascontiguousarray(array) for name, array in weights.items()}, tmp_path / "other.safetensors")
    with pytest.raises(InvalidArtifact, match=r"out\.bias"):
        beatnet.read_weights(tmp_path / "other.safetensors")
