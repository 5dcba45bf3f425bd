"""What the servers are started with: the shipped checkpoint, or one that has learned nothing where there is none."""

from pathlib import Path

import numpy as np
import pytest

from serving.settings import Settings


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model repository whose generator takes and makes motion of 66 channels."""
    from choreo.generators.checkpoint import CONFIG
    from export.build import build_repository

    settings = Settings()
    if (settings.weights / CONFIG).is_file():
        return build_repository(settings.weights, settings.model_repo).path
    folder = tmp_path_factory.mktemp("untrained")
    _save_untrained(folder / "checkpoint")
    return build_repository(folder / "checkpoint", folder / "model_repo").path


def _save_untrained(folder: Path) -> None:
    """Write a generator of a few thousand random weights whose output decodes to motion of human size."""
    import torch

    from choreo.generators.checkpoint import save_generator
    from choreo.generators.unet.config import UNetConfig, UNetGeneratorConfig
    from choreo.generators.unet.graphs import unet_spec
    from choreo.generators.unet.model import UNetModel
    from choreo.models.conditioner_config import ConditionerConfig

    mean, std = _statistics()
    config = UNetGeneratorConfig(
        conditioner=ConditionerConfig(context_dim=16, num_heads=2),
        denoiser=UNetConfig(
            model_channels=16,
            channel_mult=(1, 2),
            num_res_blocks=1,
            attention_resolutions=(2,),
            num_heads=2,
            context_dim=16,
            dropout=0.0,
        ),
        spec=unet_spec("untrained", context_dim=16, mean=mean, std=std),
        music_mean=(0.0,) * 35,
        music_std=(1.0,) * 35,
    )
    torch.manual_seed(0)
    generator = UNetModel(config)
    for parameter in generator.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    save_generator(folder, config, generator.state_dict())


def _statistics() -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of features around a standing body."""
    from choreo.motion.kinematics import forward_kinematics
    from choreo.motion.representation import encode
    from choreo.motion.skeleton import NUM_JOINTS

    rotations = np.tile(np.eye(3), (2, NUM_JOINTS, 1, 1))
    standing = forward_kinematics(np.tile([0, 0.95, 0], (2, 1)), rotations)
    features, _ = encode(standing, 30)
    return tuple(features[0].tolist()), (0.05,) * features.shape[1]
