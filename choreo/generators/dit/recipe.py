"""Recipes of the transformers."""

from typing import ClassVar, Literal, Self

from pydantic import model_validator

from choreo.diffusion.schedule import Prediction, ScheduleName
from choreo.generators.dit.config import DiTConfig
from choreo.models.conditioner_config import ConditionerConfig
from choreo.motion.representation import representation
from choreo.motion.skeleton import WINDOW
from choreo.music.beats import RHYTHM_WIDTHS
from choreo.training.recipe import GeneratorRecipe


class DiTRecipe(GeneratorRecipe):
    """One training run of a transformer; `architecture` says how it is conditioned."""

    architecture: Literal["dit-adaln", "dit-crossattn", "dit-incontext"]
    prediction: Prediction = Prediction.X0
    schedule: ScheduleName = ScheduleName.COSINE
    num_train_timesteps: int = 1000
    conditioner: ConditionerConfig = ConditionerConfig(context_dim=128)
    denoiser: DiTConfig = DiTConfig()

    decisive: ClassVar[tuple[str, ...]] = (
        *GeneratorRecipe.decisive, "denoiser", "conditioner", "prediction", "schedule", "num_train_timesteps",
    )  # fmt: skip

    @model_validator(mode="after")
    def _networks_fit(self) -> Self:
        conditioner, denoiser = self.conditioner, self.denoiser
        if conditioner.window != WINDOW or WINDOW % conditioner.frames_per_token:
            raise ValueError(f"conditioner: its window must be {WINDOW} frames, and a whole number of tokens")
        if denoiser.rhythm_channels not in RHYTHM_WIDTHS:
            widths = " or ".join(str(width) for width in RHYTHM_WIDTHS)
            raise ValueError(f"denoiser.rhythm_channels must be {widths}, got {denoiser.rhythm_channels}")
        for name in ("context_dim", "frames_per_token"):
            if getattr(denoiser, name) != getattr(conditioner, name):
                raise ValueError(f"denoiser.{name} must be conditioner.{name}")
        channels = representation(self.representation).channels
        if denoiser.channels != channels:
            raise ValueError(f"denoiser.channels must be {channels}, those of {self.representation}")
        return self

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
