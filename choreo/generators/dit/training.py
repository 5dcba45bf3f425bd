"""From a recipe and clips to what a training run needs of a transformer."""

from collections.abc import Sequence

from choreo.data.clip import Clip
from choreo.generators.dit.config import DiTGeneratorConfig
from choreo.generators.dit.recipe import DiTRecipe
from choreo.training.generator import GeneratorTask
from choreo.training.windowed import TrainingData, config_fields, cut_windows


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
    return DiTGeneratorConfig(**config_fields(recipe, recipe.denoiser, clips))
