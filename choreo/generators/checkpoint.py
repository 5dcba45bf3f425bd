"""A generator: conditioner, denoiser and the spec that tells clients how to use them; saved as one checkpoint folder.

A checkpoint is `model.safetensors` (both networks), `config.json` (architecture and spec) and a model card.
"""

import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from choreo.errors import InvalidArtifact
from choreo.files import atomic_write
from choreo.generators.registry import denoiser
from choreo.generators.spec import ModelSpec
from choreo.generators.unet.network import UNetConfig
from choreo.models.conditioner import Conditioner, ConditionerConfig

WEIGHTS = "model.safetensors"
CONFIG = "config.json"


class Distilled(BaseModel):
    """What is within the weights of a distilled generator, and need not be asked of it.

    Attributes:
        teacher: name of the generator whose paths it learned.
        guidance_scale: classifier-free guidance that it answers with; it is asked with a scale of 1.
        guidance_low: lowest noise, t / T, at which its teacher was guided.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    teacher: str
    guidance_scale: float
    guidance_low: float = 0.0


class GeneratorConfig(BaseModel):
    """Everything needed to build a generator without its weights."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    architecture: str = "unet"
    conditioner: ConditionerConfig
    denoiser: UNetConfig
    spec: ModelSpec
    music_mean: tuple[float, ...]
    music_std: tuple[float, ...]
    distilled: Distilled | None = None


class Generator(nn.Module):
    """The two networks of one model, called the way the exported graphs are called."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        self.conditioner = Conditioner(config.conditioner, config.music_mean, config.music_std)
        self.denoiser = denoiser(config.architecture, config.denoiser, config.spec)

    @property
    def spec(self) -> ModelSpec:
        """The wire contract."""
        return self.config.spec

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Condition and denoise one training batch: tensors named and shaped as in `ModelSpec`, plus a batch axis."""
        context, context_mask = self.conditioner(*(batch[name] for name in self.spec.conditioner_inputs()))
        batch = batch | {"context": context, "context_mask": context_mask}
        return self.denoiser(*(batch[name] for name in self.spec.denoiser_inputs()))


def save_generator(folder: Path, config: GeneratorConfig, state: dict[str, Tensor]) -> None:
    """Write a checkpoint folder; each file appears whole or not at all.

    Raises:
        OSError: the disk is full, or the folder may not be written; the files in it are as they were.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # Not safetensors' save_file, whose own error would hide that the disk is full.
    atomic_write(folder / WEIGHTS, save({k: v.detach().contiguous().cpu() for k, v in state.items()}))
    atomic_write(folder / CONFIG, (json.dumps(config.model_dump(mode="json"), indent=1) + "\n").encode())


def read_config(folder: Path) -> GeneratorConfig:
    """The configuration of a checkpoint folder.

    Raises:
        InvalidArtifact: it is missing or broken.
    """
    try:
        return GeneratorConfig.model_validate_json((folder / CONFIG).read_text())
    except (OSError, ValidationError, ValueError) as error:
        raise InvalidArtifact(f"{folder} is not a usable checkpoint: {error}") from error


def load_generator(folder: Path) -> Generator:
    """Read a checkpoint folder into a generator in evaluation mode, float32.

    Raises:
        InvalidArtifact: a file is missing, broken, or does not match the architecture.
    """
    config = read_config(folder)
    try:
        state = {k: v.float() for k, v in load_file(folder / WEIGHTS).items()}
        generator = Generator(config)
        generator.load_state_dict(state)
    except (OSError, RuntimeError, ValueError) as error:
        raise InvalidArtifact(f"{folder} is not a usable checkpoint: {error}") from error
    except Exception as error:  # safetensors raises its own class, which derives from Exception alone
        if type(error).__name__ != "SafetensorError":
            raise
        raise InvalidArtifact(f"{folder / WEIGHTS} is broken: {error}") from error
    return generator.eval()
