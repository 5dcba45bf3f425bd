"""Recipes of the transformers."""

from typing import Literal, Self

from pydantic import model_validator

from choreo.generators.dit.config import DiTConfig
from choreo.models.conditioner_config import ConditionerConfig
from choreo.training.windowed_recipe import WindowedRecipe, check_sizes


class DiTRecipe(WindowedRecipe):
    """One training run of a transformer; `architecture` says how it is conditioned."""

    architecture: Literal["dit-adaln", "dit-crossattn", "dit-incontext"]
    conditioner: ConditionerConfig = ConditionerConfig(context_dim=128)
    denoiser: DiTConfig = DiTConfig()

    @model_validator(mode="after")
    def _networks_fit(self) -> Self:
        check_sizes(self, self.denoiser)
        if self.denoiser.frames_per_token != self.conditioner.frames_per_token:
            raise ValueError("denoiser.frames_per_token must be conditioner.frames_per_token")
        return self
