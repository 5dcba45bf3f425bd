"""A U-Net generator with random weights, small enough to be exported in a test, and its checkpoint."""

from pathlib import Path

import torch

from choreo.generators.checkpoint import save_generator
from choreo.generators.unet.config import UNetConfig, UNetGeneratorConfig
from choreo.generators.unet.graphs import unet_spec
from choreo.generators.unet.model import UNetModel
from choreo.models.conditioner_config import ConditionerConfig


def small_network(name: str = "small", seed: int = 0) -> UNetModel:
    """Weights are random everywhere, also where training begins with zeros."""
    config = UNetGeneratorConfig(
        spec=unet_spec(name, context_dim=16, mean=(0.0,) * 66, std=(1.0,) * 66),
        conditioner=ConditionerConfig(context_dim=16, num_heads=2),
        denoiser=UNetConfig(
            model_channels=16, channel_mult=(1, 2), num_res_blocks=1, attention_resolutions=(2,), num_heads=2,
            context_dim=16,
        ),
        music_mean=(0.0,) * 35, music_std=(1.0,) * 35,
    )  # fmt: skip
    torch.manual_seed(seed)
    network = UNetModel(config).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.15)
    return network


def save_small(folder: Path, name: str = "small", seed: int = 0) -> Path:
    """Write the checkpoint of a small network."""
    network = small_network(name, seed)
    save_generator(folder, network.config, network.state_dict())
    return folder
