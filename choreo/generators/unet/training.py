"""From a recipe and clips to what a training run needs of the U-Net."""

from collections.abc import Sequence

from choreo.data.clip import Clip
from choreo.data.windows.windows import WindowOptions
from choreo.generators.checkpoint import load_generator
from choreo.generators.config import Distilled
from choreo.generators.network import GeneratorNetwork
from choreo.generators.unet.config import UNetGeneratorConfig
from choreo.generators.unet.recipe import UNetRecipe
from choreo.generators.windowed import DISTILLED
from choreo.training.distillation import DistillationTask
from choreo.training.generator import GeneratorTask
from choreo.training.windowed import TrainingData, config_fields, cut_windows


def unet_task(recipe: UNetRecipe, data: TrainingData) -> GeneratorTask:
    """The task of a recipe.

    Raises:
        InvalidInput: the recipe's validation does not fit the generator or the data.
        InvalidArtifact: the teacher cannot be loaded.
    """
    if recipe.distillation is None:
        config = generator_config(recipe, data.training)
        cut = cut_windows(recipe, config.spec, data)
        return GeneratorTask(recipe, config, cut.training, cut.validation, cut.dances)
    teacher = load_generator(recipe.distillation.teacher)
    config = student_config(recipe, teacher)
    # A student is never asked without conditions: guidance, which would do that, is within its weights.
    cut = cut_windows(recipe, config.spec, data, WindowOptions(drop_all=0.0))
    return DistillationTask(recipe, recipe.distillation, teacher, config, cut.training, cut.validation, cut.dances)


def generator_config(recipe: UNetRecipe, clips: Sequence[Clip]) -> UNetGeneratorConfig:
    """Architecture from the recipe, statistics from the training clips."""
    return UNetGeneratorConfig(**config_fields(recipe, recipe.denoiser, clips))


def student_config(recipe: UNetRecipe, teacher: GeneratorNetwork) -> UNetGeneratorConfig:
    """The teacher's, statistics and all, under the recipe's name and with what is distilled."""
    if recipe.distillation is None:
        raise ValueError("the recipe has no distillation")
    of = recipe.distillation
    distilled = Distilled(teacher=teacher.spec.name, guidance_scale=of.guidance_scale, guidance_low=of.guidance_low)
    parameters = teacher.spec.parameters | {DISTILLED: True}
    spec = teacher.spec.model_copy(update={"name": recipe.name, "parameters": parameters})
    # What the student is to agree with is computed without dropout.
    assert isinstance(teacher.config, UNetGeneratorConfig)
    denoiser = teacher.config.denoiser.model_copy(update={"dropout": 0.0})
    return teacher.config.model_copy(update={"spec": spec, "denoiser": denoiser, "distilled": distilled})
