"""A latent generator with random weights, small enough to be exported in a test, and its checkpoint."""

from pathlib import Path
from typing import Any

import torch

from choreo.generators.checkpoint import save_generator
from choreo.generators.latent.config import LatentConfig, LatentDenoiserConfig, VaeConfig
from choreo.generators.latent.graphs import LatentScale, latent_spec
from choreo.generators.latent.model import LatentNetwork
from choreo.generators.spec import GeneratorSpec

CHANNELS = 4
SCALE = LatentScale(latent_mean=(0.1,) * CHANNELS, latent_std=(1.5,) * CHANNELS)


def small_vae(**changes: Any) -> VaeConfig:
    sizes = {"window": 256, "tokens": 16, "channels": CHANNELS, "width": 16, "overlap": 4}
    return VaeConfig.model_validate(sizes | changes)


def small_latent_spec(name: str = "small-latent", **changes: Any) -> GeneratorSpec:
    fields: dict[str, Any] = {
        "mean": (0.0,) * 66, "std": (1.0,) * 66, "channels": CHANNELS, "overlap": 4, "scale": SCALE,
        "music_dim": 35, "text_dim": 8, "rhythm_channels": 4,
    }  # fmt: skip
    return latent_spec(name, **(fields | changes))


def small_config(spec: GeneratorSpec | None = None, vae: VaeConfig | None = None) -> LatentConfig:
    return LatentConfig(
        spec=spec or small_latent_spec(),
        vae=vae or small_vae(),
        denoiser=LatentDenoiserConfig(layers=2, width=16, num_heads=2, feed_forward=2),
        music_mean=(0.0,) * 35,
        music_std=(1.0,) * 35,
    )


def small_latent(config: LatentConfig | None = None, seed: int = 0) -> LatentNetwork:
    """Weights are random everywhere, also where training begins with zeros."""
    torch.manual_seed(seed)
    network = LatentNetwork(config or small_config()).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.15)
    return network


def save_small_latent(folder: Path, name: str = "small-latent") -> Path:
    network = small_latent(small_config(small_latent_spec(name)))
    save_generator(folder, network.config, network.state_dict())
    return folder
