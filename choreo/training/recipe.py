"""Recipes: everything that decides a training run, read from one YAML file."""

from pathlib import Path
from typing import Any, Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from choreo.errors import InvalidArtifact, InvalidInput
from choreo.generators.checkpoint import read_config
from choreo.generators.spec import NAME, Prediction, ScheduleName
from choreo.generators.unet.network import UNetConfig
from choreo.models.conditioner import ConditionerConfig
from choreo.models.tmr import TextMotionConfig
from choreo.motion.skeleton import WINDOW
from choreo.music.encoders import DSP35, MusicEncoder, MusicEncoderName, music_encoder
from choreo.text.encoders import TextEncoder, TextEncoderName, text_encoder
from choreo.training.best import BETTER
from choreo.training.contrastive import ContrastiveWeights
from choreo.training.distillation import DistillationConfig
from choreo.training.losses import LossWeights


class TrainConfig(BaseModel):
    """Optimisation and bookkeeping. `max_steps` and `warmup_steps` count optimiser steps."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_steps: int = Field(10_000, ge=1)
    batch_size: int = Field(32, ge=1)
    gradient_accumulation: int = Field(1, ge=1)
    learning_rate: float = Field(4e-4, gt=0)
    weight_decay: float = Field(0.01, ge=0)
    warmup_steps: int = Field(200, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)
    ema_decay: float = Field(0.999, ge=0, lt=1)
    mixed_precision: Literal["no", "fp16", "bf16"] = "no"
    seed: int = 0
    log_every: int = Field(20, ge=1)
    validate_every: int = Field(500, ge=1)
    save_every: int = Field(500, ge=1)
    keep_checkpoints: int = Field(2, ge=1)
    tracker: Literal["tensorboard", "wandb", "none"] = "tensorboard"
    validation_dances: int = Field(32, ge=0, le=1024)
    """Held-out windows that the averaged weights of a generator dance to at every validation; 0 makes no dances."""
    validation_sampler: Literal["ddim", "ddpm", "dpm++2m", "lcm"] = "ddim"
    """Sampler of these dances."""
    validation_num_steps: int = Field(12, ge=1)
    """Their steps."""
    validation_guidance_scale: float = Field(2.5, ge=0)
    """Their classifier-free guidance; 1 for a distilled generator, which has it within."""
    best_by: str = "fid_k"
    """Value of the validation that chooses the averaged weights of a generator that are kept: a metric of the dances or
    `loss/...`; where no dances are made, metrics give way to `loss/total`."""
    compile: bool = False
    """Whether the network is compiled (torch.compile): slow to start, and worth it for long runs on a GPU."""
    num_workers: int = Field(0, ge=0, le=64)
    """Processes that cut windows; 0 cuts them between steps."""

    @field_validator("best_by")
    @classmethod
    def _known_value(cls, name: str) -> str:
        if name not in BETTER:
            raise ValueError(f"must be one of {', '.join(BETTER)}, got {name!r}")
        return name


class DataConfig(BaseModel):
    """What is made of the recordings before training: pairs with songs, and synthetic dances beside them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    most_recordings: int | None = Field(None, ge=1)
    """Recordings that are read of each side; omitted: all."""
    purge: bool = False
    """Whether stretches that the held-out side has as well are cut out of the training side."""
    paired_per_piece: int = Field(0, ge=0, le=8)
    """Songs that every piece of motion is warped onto."""
    synthesized_songs: int = Field(24, ge=0, le=200)
    """Songs made for pairing, beside the loops in the data folder's `audio`."""
    synthetic_dances: int = Field(0, ge=0, le=1000)
    """Dances by the synthetic choreographer."""


class Recipe(BaseModel):
    """One training run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["generator"] = "generator"
    name: str = Field(pattern=NAME)
    architecture: str = "unet"
    prediction: Prediction = Prediction.X0
    schedule: ScheduleName = ScheduleName.COSINE
    num_train_timesteps: int = 1000
    music_encoder: MusicEncoderName = "dsp35"
    """Encoder of songs; `conditioner.music_dim` must be its width."""
    text_encoder: TextEncoderName = "minilm"
    """Encoder of sentences; `conditioner.text_dim` must be its width."""
    conditioner: ConditionerConfig = ConditionerConfig()
    denoiser: UNetConfig = UNetConfig()
    losses: LossWeights = LossWeights()
    data: DataConfig = DataConfig()
    train: TrainConfig = TrainConfig()
    distillation: DistillationConfig | None = None
    """Whom a generator learns from in place of the motion itself; `load_recipe` takes the network from there."""

    @model_validator(mode="after")
    def _networks_fit(self) -> "Recipe":
        if self.conditioner.window != WINDOW or WINDOW % self.conditioner.frames_per_token:
            raise ValueError(f"conditioner: its window must be {WINDOW} frames, and a whole number of tokens")
        if self.denoiser.context_dim != self.conditioner.context_dim:
            raise ValueError("denoiser.context_dim must be conditioner.context_dim")
        return self

    def smoke(self) -> "Recipe":
        """The same network and the same code for a minute: a few steps on a few clips.

        Synthetic dances are added where their songs can be encoded on every machine, so that no data are needed.
        """
        dances = 6 if self.music_encoder == DSP35.name else min(self.data.synthetic_dances, 6)
        data = {
            "most_recordings": 8, "paired_per_piece": min(self.data.paired_per_piece, 1), "synthesized_songs": 2,
            "synthetic_dances": dances,
        }  # fmt: skip
        train = {
            "max_steps": 6, "batch_size": 4, "warmup_steps": 1, "log_every": 1, "validate_every": 3, "save_every": 3,
            "tracker": "none", "validation_dances": 4, "validation_num_steps": 2,
        }  # fmt: skip
        return self.model_copy(
            update={"data": self.data.model_copy(update=data), "train": self.train.model_copy(update=train)}
        )


class TextMotionRecipe(BaseModel):
    """One training run of the text-motion encoder."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["text-motion"] = "text-motion"
    name: str
    text_encoder: TextEncoderName = "minilm"
    """Encoder of sentences; `network.text_dim` must be its width."""
    network: TextMotionConfig = Field(TextMotionConfig(), validate_default=True)
    losses: ContrastiveWeights = ContrastiveWeights()
    purge: bool = False
    """See `DataConfig.purge`."""
    text_noise: float = Field(0.01, ge=0)
    """Standard deviation of the noise that training adds to each number of a sentence embedding."""
    patience: int = Field(10, ge=1)
    """Validations without a better one after which a run ends."""
    train: TrainConfig = TrainConfig()

    @field_validator("network")
    @classmethod
    def _with_encoder(cls, network: TextMotionConfig, info: ValidationInfo) -> TextMotionConfig:
        """The network with the recipe's encoder: its configuration is what travels with the checkpoint."""
        encoder = info.data.get("text_encoder", network.text_encoder)
        if "text_encoder" in network.model_fields_set and network.text_encoder != encoder:
            raise ValueError(f"names the text encoder {network.text_encoder}, but the recipe's is {encoder}")
        return network.model_copy(update={"text_encoder": encoder})

    @model_validator(mode="after")
    def _one_batch(self) -> "TextMotionRecipe":
        if self.train.gradient_accumulation != 1:
            raise ValueError("gradient_accumulation must be 1: pairs are contrasted within their batch")
        return self

    def smoke(self) -> "TextMotionRecipe":
        """The same network and the same code for a minute."""
        train = {
            "max_steps": 6, "batch_size": 8, "warmup_steps": 1, "log_every": 1, "validate_every": 3, "save_every": 3,
            "tracker": "none",
        }  # fmt: skip
        return self.model_copy(update={"train": self.train.model_copy(update=train)})


KINDS: Final = ("generator", "text-motion")
"""Values of a recipe's field `kind`; without one a recipe is for a generator."""


def load_recipe(path: Path) -> Recipe | TextMotionRecipe:
    """Read a recipe.

    Raises:
        InvalidInput: not a file, not YAML, or a field that is unknown, out of range, or not the width of an encoder.
    """
    recipe = _read(path)
    check_widths(recipe)
    return recipe


def check_widths(recipe: Recipe | TextMotionRecipe) -> None:
    """Check that the networks take vectors of the widths that the named encoders give.

    Raises:
        InvalidInput: one of another width; the message names the field.
    """
    widths: list[tuple[str, int, MusicEncoder | TextEncoder]] = []
    if isinstance(recipe, Recipe):
        widths.append(("conditioner.music_dim", recipe.conditioner.music_dim, music_encoder(recipe.music_encoder)))
        widths.append(("conditioner.text_dim", recipe.conditioner.text_dim, text_encoder(recipe.text_encoder)))
    else:
        widths.append(("network.text_dim", recipe.network.text_dim, text_encoder(recipe.text_encoder)))
    for field, width, encoder in widths:
        if encoder.dim != width:
            raise InvalidInput(field, f"is {width}, but the encoder {encoder.name} gives {encoder.dim} numbers")


def _read(path: Path) -> Recipe | TextMotionRecipe:
    try:
        document = yaml.safe_load(path.read_text())
        kind = document.get("kind", KINDS[0]) if isinstance(document, dict) else KINDS[0]
        if kind not in KINDS:
            raise InvalidInput("kind", f"must be one of {', '.join(KINDS)}, got {kind!r}")
        if kind == KINDS[1]:
            return TextMotionRecipe.model_validate(document)
        return Recipe.model_validate(_with_network_of_teacher(document, path.parent))
    except (OSError, yaml.YAMLError) as error:
        raise InvalidInput("recipe", f"cannot read {path}: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "recipe"
        raise InvalidInput(where, first["msg"]) from error


def _with_network_of_teacher(document: Any, folder: Path) -> Any:
    """A recipe with `distillation`, completed by the network that the teacher has; `folder` is the recipe's.

    Raises:
        InvalidInput: no checkpoint there, or the recipe names a network of its own.
    """
    section = document.get("distillation") if isinstance(document, dict) else None
    if not isinstance(section, dict) or not isinstance(section.get("teacher"), str):
        return document
    teacher = folder / section["teacher"]
    try:
        config = read_config(teacher)
    except InvalidArtifact as error:
        raise InvalidInput("distillation.teacher", str(error)) from error
    network = {
        "architecture": config.architecture, "conditioner": config.conditioner, "denoiser": config.denoiser,
        "music_encoder": config.spec.music_encoder, "text_encoder": config.spec.text_encoder,
        "prediction": config.spec.prediction, "schedule": config.spec.schedule,
        "num_train_timesteps": config.spec.num_train_timesteps,
    }  # fmt: skip
    own = network.keys() & document.keys()
    if own:
        raise InvalidInput(min(own), "is the teacher's; leave it out")
    return document | network | {"distillation": section | {"teacher": teacher.resolve()}}
