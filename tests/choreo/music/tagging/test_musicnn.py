"""musicnn in NumPy: equal to the same layers in torch, whatever the weights, and to the published network."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from choreo.errors import InvalidArtifact, MissingDependency
from choreo.music.tagging.log_mel import BANDS, log_mel
from choreo.music.tagging.musicnn import SHAPES, TEMPORAL, TIMBRAL, WINDOW, Musicnn, read_weights

functional = torch.nn.functional


def random_weights() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {name: rng.normal(0, 0.05, shape).astype(np.float32) for name, shape in SHAPES.items()}


def tones() -> np.ndarray:
    """Three seconds of decaying tones and noise at 16 kHz."""
    time = np.arange(48_000) / 16_000
    tone = 0.1 * np.sin(2 * np.pi * 440 * time) * np.exp(-4 * (time % 0.5))
    return (tone + 0.02 * np.random.default_rng(1).normal(size=48_000)).astype(np.float32)


def in_torch(weights: dict[str, torch.Tensor], window: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Probabilities (50,) and embedding (200,)."""

    def normalised(x: torch.Tensor, name: str) -> torch.Tensor:
        return functional.relu(x) * weights[f"{name}.scale"] + weights[f"{name}.shift"]

    def largest(padded: torch.Tensor, name: str, kernel: tuple[int, int]) -> torch.Tensor:
        filters = weights[f"{name}.weight"].T.reshape(-1, 1, *kernel)
        out = functional.conv2d(padded[None, None], filters, weights[f"{name}.bias"])[0]
        return normalised(out.permute(1, 2, 0), name).amax(1)

    def middle(x: torch.Tensor, name: str) -> torch.Tensor:
        filters = weights[f"{name}.weight"].reshape(7, x.shape[1], -1).permute(2, 1, 0)
        return normalised(functional.conv1d(x.T[None], filters, weights[f"{name}.bias"], padding=3)[0].T, name)

    x = window * weights["input.scale"] + weights["input.shift"]
    front = [largest(functional.pad(x, (0, 0, 3, 3)), name, kernel) for name, kernel in TIMBRAL.items()]
    for name, length in TEMPORAL.items():
        front.append(largest(functional.pad(x, (0, 0, (length - 1) // 2, length // 2)), name, (length, 1)))
    features = [torch.cat(front, 1)]
    features.append(middle(features[0], "middle.0"))
    features.append(features[1] + middle(features[1], "middle.1"))
    features.append(features[2] + middle(features[2], "middle.2"))
    joined = torch.cat(features, 1)
    pooled = torch.stack([joined.amax(0), joined.mean(0)], 1).flatten()
    pooled = pooled * weights["pooled.scale"] + weights["pooled.shift"]
    embedding = normalised(pooled @ weights["dense.weight"] + weights["dense.bias"], "dense")
    return torch.sigmoid(embedding @ weights["out.weight"] + weights["out.bias"]), embedding


def test_equals_torch() -> None:
    weights = random_weights()
    window = np.random.default_rng(1).uniform(0, 4, (WINDOW, BANDS)).astype(np.float32)
    expected, embedding = in_torch({k: torch.from_numpy(v) for k, v in weights.items()}, torch.from_numpy(window))
    heard = Musicnn(weights).hear(window)
    assert (heard.probabilities.dtype, heard.embedding.shape) == (np.float32, (200,))
    np.testing.assert_allclose(heard.embedding, embedding, atol=1e-4)
    np.testing.assert_allclose(heard.probabilities, expected, atol=1e-4)


@pytest.mark.parametrize(
    ("model", "probabilities", "embedding"),
    [
        (
            "msd",
            [0.0550, 0.0143, 0.0360, 0.0460, 0.4210, 0.0186],
            [-0.1772, -0.0446, -0.2848, -0.2751, -0.3532],
        ),
        (
            "mtt",
            [0.0086, 0.0040, 0.1732, 0.1084, 0.0020, 0.0275],
            [0.0249, 0.5945, -0.0923, 0.4401, -0.0787],
        ),
    ],
)
def test_the_published_network(model: str, probabilities: list[float], embedding: list[float]) -> None:
    """The numbers are those of musicnn 0.1.0 in TensorFlow 2.21."""
    heard = Musicnn.shipped(model).hear(log_mel(tones())[:WINDOW])
    np.testing.assert_allclose(heard.probabilities[:6], probabilities, atol=1e-3)  # weights are stored as float16
    np.testing.assert_allclose(heard.embedding[:5], embedding, atol=5e-3)


def test_other_windows_are_refused() -> None:
    with pytest.raises(ValueError, match="187, 96"):
        Musicnn(random_weights()).hear(np.zeros((WINDOW - 1, BANDS), np.float32))


def test_broken_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingDependency, match="missing"):
        read_weights(tmp_path / "none.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"broken")
    with pytest.raises(InvalidArtifact, match=r"broken\.safetensors"):
        read_weights(tmp_path / "broken.safetensors")
    save_file(random_weights() | {"out.bias": np.zeros(3, np.float32)}, tmp_path / "other.safetensors")
    with pytest.raises(InvalidArtifact, match=r"out\.bias"):
        read_weights(tmp_path / "other.safetensors")
