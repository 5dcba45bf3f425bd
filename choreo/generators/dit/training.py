"""From a recipe and clips to what a training run needs of a transformer."""

from collections.abc import Sequence

import numpy as np

from choreo.data.clip import Clip
from choreo.data.windows.windows import feature_statistics
from choreo.generators.dit.config import DiTGeneratorConfig
from choreo.generators.dit.recipe import DiTRecipe
from choreo.generators.windowed_spec import windowed_spec
from choreo.training.generator import GeneratorTask
from choreo.training.windowed import TrainingData, cut_windows


def dit_task(recipe: DiTRecipe, data: TrainingData) -> GeneratorTask:
    """The task of a recipe.

    Raises:
        InvalidInput: the recipe's validation does not fit the generator or the data.
    """
    config = generator_config(recipe, data.training)
    cut = cut_windows(recipe, config.spec, data)
    return GeneratorTask(recipe, config, cut.training, cut.validation, cut.dances)


def generator_config(recipe: DiTRecipe, clips: Sequence[Clip]) -> DiTGeneratorConfig:
    """Architecture from the recipe, statistics from the training clips."""
    mean, std = feature_statistics(clips)
    music = [c.music for c in clips if c.music is not None]
    heard = np.concatenate(music) if music else np.zeros((1, recipe.music_dim))
    spec = windowed_spec(
        recipe.name,
        family=recipe.architecture,
        window=recipe.window,
        context_tokens=recipe.conditioner.context_tokens,
        context_dim=recipe.conditioner.context_dim,
        music_encoder=recipe.music_encoder,
        music_dim=recipe.music_dim,
        text_encoder=recipe.text_encoder,
        text_dim=recipe.text_dim,
        rhythm_channels=recipe.denoiser.rhythm_channels,
        prediction=recipe.prediction,
        schedule=recipe.schedule,
        num_train_timesteps=recipe.num_train_timesteps,
        representation=recipe.representation,
        mean=np.round(mean, 6).tolist(),
        std=np.round(std, 6).tolist(),
    )
    return DiTGeneratorConfig(
        conditioner=recipe.conditioner,
        denoiser=recipe.denoiser,
        spec=spec,
        music_mean=tuple(np.round(heard.mean(0), 6).tolist()),
        music_std=tuple(np.round(np.maximum(heard.std(0), 0.05), 6).tolist()),
    )
