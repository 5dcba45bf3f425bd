"""Recipes: everything that decides a training run, read from one YAML file."""

from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from choreo.errors import InvalidInput
from choreo.models.conditioner import ConditionerConfig
from choreo.models.spec import Prediction, ScheduleName
from choreo.models.unet import UNetConfig
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


class Recipe(BaseModel):
    """One training run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    architecture: str = "unet"
    prediction: Prediction = Prediction.X0
    schedule: ScheduleName = ScheduleName.COSINE
    num_train_timesteps: int = 1000
    conditioner: ConditionerConfig = ConditionerConfig()
    denoiser: UNetConfig = UNetConfig()
    losses: LossWeights = LossWeights()
    train: TrainConfig = TrainConfig()


def load_recipe(path: Path) -> Recipe:
    """Read a recipe.

    Raises:
        InvalidInput: not a file, not YAML, or a field that is unknown or out of range.
    """
    try:
        return Recipe.model_validate(yaml.safe_load(path.read_text()))
    except (OSError, yaml.YAMLError) as error:
        raise InvalidInput("recipe", f"cannot read {path}: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "recipe"
        raise InvalidInput(where, first["msg"]) from error
