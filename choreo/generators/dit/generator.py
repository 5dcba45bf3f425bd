"""The families of transformers: what the registry finds."""

from typing import TYPE_CHECKING, Any, ClassVar

from choreo.generators.windowed import WindowedDiffusion

if TYPE_CHECKING:
    from choreo.generators.config import GeneratorConfig
    from choreo.generators.network import GeneratorNetwork
    from choreo.training.loop import Task
    from choreo.training.recipe import GeneratorRecipe
    from choreo.training.windowed import TrainingData


class DiTGenerator(WindowedDiffusion):
    """Diffusion over windows with a transformer; subclasses name how it is conditioned."""

    @classmethod
    def recipe_type(cls) -> "type[GeneratorRecipe]":
        """Sizes of conditioner and transformer, and the schedule."""
        from choreo.generators.dit.recipe import DiTRecipe

        return DiTRecipe

    @classmethod
    def task(cls, recipe: Any, data: "TrainingData") -> "Task":
        """Denoising of windows."""
        from choreo.generators.dit.training import dit_task

        return dit_task(recipe, data)

    @classmethod
    def config_type(cls) -> "type[GeneratorConfig]":
        """Conditioner, transformer and the statistics of the music."""
        from choreo.generators.dit.config import DiTGeneratorConfig

        return DiTGeneratorConfig

    @classmethod
    def network(cls, config: Any) -> "GeneratorNetwork":
        """A network with new weights."""
        from choreo.generators.dit.model import DiTModel

        return DiTModel(config)


class AdaLNGenerator(DiTGenerator):
    """Time and text modulate the layer norms."""

    family: ClassVar[str] = "dit-adaln"
    repeats_sections: ClassVar[bool] = True


class CrossAttentionGenerator(DiTGenerator):
    """Time and text are attended to."""

    family: ClassVar[str] = "dit-crossattn"


class InContextGenerator(DiTGenerator):
    """Time and text are tokens before the motion."""

    family: ClassVar[str] = "dit-incontext"
