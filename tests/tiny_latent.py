"""A run of a latent generator small enough for every test: three clips, narrow networks, a few steps of each stage."""

from typing import Any

import numpy as np
from small_latent import small_vae
from tiny_training import clips

from choreo.generators.latent.config import LatentDenoiserConfig
from choreo.generators.latent.recipe import LatentRecipe
from choreo.training.options import TrainConfig
from choreo.training.windowed import TrainingData


class FakeWideText(dict[str, np.ndarray]):
    """Embeds any caption, in as many numbers as the text encoder."""

    def __init__(self, dim: int) -> None:
        super().__init__({"": np.zeros(dim, np.float32)})
        self.dim = dim

    def __missing__(self, key: str) -> np.ndarray:
        return np.full(self.dim, float(len(key) % 5), np.float32)


def latent_recipe(vae_steps: int = 4, steps: int = 4, **changes: Any) -> LatentRecipe:
    options: dict[str, Any] = {
        "batch_size": 2, "warmup_steps": 1, "save_every": 2, "log_every": 1, "validate_every": 2, "tracker": "none",
    }  # fmt: skip
    fields: dict[str, Any] = {
        "name": "tiny-latent",
        "vae": small_vae(),
        "vae_train": TrainConfig(**options, max_steps=vae_steps, best_by="loss/total"),
        "denoiser": LatentDenoiserConfig(layers=2, width=16, num_heads=2, feed_forward=2),
        "rhythm_channels": 4,
        "train": TrainConfig(**options, max_steps=steps, validation_dances=3, validation_num_steps=2),
    }
    return LatentRecipe.model_validate(fields | changes)


def latent_data(recipe: LatentRecipe) -> TrainingData:
    every = clips()
    return TrainingData(every, every, FakeWideText(recipe.text_dim))
