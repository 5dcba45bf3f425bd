"""The U-Net family: what the registry finds."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from choreo.generators.unet.graphs import FAMILY
from choreo.generators.windowed import DENOISER, WindowedDiffusion

if TYPE_CHECKING:
    from choreo.generators.config import GeneratorConfig
    from choreo.generators.network import GeneratorNetwork
    from choreo.training.loop import Task
    from choreo.training.recipe import GeneratorRecipe
    from choreo.training.windowed import TrainingData


class UNetGenerator(WindowedDiffusion):
    """Diffusion over windows with a conditional 1-D U-Net."""

    family: ClassVar[str] = FAMILY
    repeats_sections: ClassVar[bool] = True
    lowerings: ClassVar[Mapping[str, str]] = {DENOISER: "unet"}

    @classmethod
    def recipe_type(cls) -> "type[GeneratorRecipe]":
        """Sizes of conditioner and U-Net, schedule, and maybe a teacher."""
        from choreo.generators.unet.recipe import UNetRecipe

        return UNetRecipe

    @classmethod
    def task(cls, recipe: Any, data: "TrainingData") -> "Task":
        """Denoising of windows, or distillation."""
        from choreo.generators.unet.training import unet_task

        return unet_task(recipe, data)

    @classmethod
    def config_type(cls) -> "type[GeneratorConfig]":
        """Conditioner, U-Net and the statistics of the music."""
        from choreo.generators.unet.config import UNetGeneratorConfig

        return UNetGeneratorConfig

    @classmethod
    def network(cls, config: Any) -> "GeneratorNetwork":
        """A network with new weights."""
        from choreo.generators.unet.model import UNetModel

        return UNetModel(config)
