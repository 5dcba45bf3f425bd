"""A run of a composite generator for every test: three clips, narrow networks, a few steps of each part."""

from pathlib import Path
from typing import Any

from small_composite import small_gpt, small_tokenizer
from tiny_latent import FakeWideText
from tiny_training import clips

from choreo.generators.composite.recipe import CompositeRecipe
from choreo.generators.composite.training import composite_stages
from choreo.generators.unet.config import UNetConfig
from choreo.models.conditioner_config import ConditionerConfig
from choreo.training.options import TrainConfig
from choreo.training.run import train_stages
from choreo.training.windowed import TrainingData


def composite_recipe(**changes: Any) -> CompositeRecipe:
    options: dict[str, Any] = {
        "batch_size": 2, "warmup_steps": 1, "save_every": 2, "log_every": 1, "validate_every": 2, "tracker": "none",
        "max_steps": 4,
    }  # fmt: skip
    part = TrainConfig(**options, best_by="loss/total")
    fields: dict[str, Any] = {
        "name": "tiny-composite",
        "conditioner": ConditionerConfig(context_dim=8, num_heads=2),
        "denoiser": UNetConfig(
            model_channels=8, channel_mult=(1, 2), num_res_blocks=1, attention_resolutions=(2,), num_heads=2,
            context_dim=8,
        ),
        "tokenizer": small_tokenizer(), "gpt": small_gpt(), "tokenizer_train": part, "gpt_train": part,
        "train": TrainConfig(**options, validation_dances=2, validation_num_steps=2),
    }  # fmt: skip
    return CompositeRecipe.model_validate(fields | changes)


def composite_data(recipe: CompositeRecipe) -> TrainingData:
    every = clips()
    return TrainingData(every, every, FakeWideText(recipe.text_dim))


def run_composite(folder: Path, recipe: CompositeRecipe, until: int | None = None) -> Path:
    return train_stages(composite_stages(recipe, composite_data(recipe)), folder, until, lambda: None)
