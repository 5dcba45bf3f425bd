"""What the recipes of a conditioner and a denoiser over windows have in common."""

from typing import ClassVar

from choreo.diffusion.schedule import Prediction, ScheduleName
from choreo.generators.windowed_config import DenoiserSizes
from choreo.models.conditioner_config import ConditionerConfig
from choreo.motion.representation import representation
from choreo.motion.skeleton import WINDOW
from choreo.music.beats import RHYTHM_WIDTHS
from choreo.training.recipe import GeneratorRecipe


class WindowedRecipe(GeneratorRecipe):
    """Conditioner and schedule; subclasses have the `denoiser`."""

    prediction: Prediction = Prediction.X0
    schedule: ScheduleName = ScheduleName.COSINE
    num_train_timesteps: int = 1000
    conditioner: ConditionerConfig = ConditionerConfig()

    decisive: ClassVar[tuple[str, ...]] = (
        *GeneratorRecipe.decisive, "denoiser", "conditioner", "prediction", "schedule", "num_train_timesteps",
    )  # fmt: skip

    @property
    def window(self) -> int:
        """The conditioner's."""
        return self.conditioner.window

    @property
    def music_dim(self) -> int:
        """The conditioner's."""
        return self.conditioner.music_dim

    @property
    def text_dim(self) -> int:
        """The conditioner's."""
        return self.conditioner.text_dim


def check_sizes(recipe: WindowedRecipe, denoiser: DenoiserSizes) -> None:
    """Check that the networks of a recipe fit each other, the window and the representation.

    Raises:
        ValueError: they do not; the message names the field.
    """
    conditioner = recipe.conditioner
    if conditioner.window != WINDOW or WINDOW % conditioner.frames_per_token:
        raise ValueError(f"conditioner: its window must be {WINDOW} frames, and a whole number of tokens")
    if denoiser.rhythm_channels not in RHYTHM_WIDTHS:
        widths = " or ".join(str(width) for width in RHYTHM_WIDTHS)
        raise ValueError(f"denoiser.rhythm_channels must be {widths}, got {denoiser.rhythm_channels}")
    if denoiser.context_dim != conditioner.context_dim:
        raise ValueError("denoiser.context_dim must be conditioner.context_dim")
    channels = representation(recipe.representation).channels
    if denoiser.channels != channels:
        raise ValueError(f"denoiser.channels must be {channels}, those of {recipe.representation}")
