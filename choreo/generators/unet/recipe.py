"""Recipes of the U-Net."""

from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import model_validator

from choreo.diffusion.parameters import DiffusionParameters
from choreo.diffusion.schedule import Prediction, ScheduleName
from choreo.errors import InvalidArtifact, InvalidInput
from choreo.generators.checkpoint import read_config
from choreo.generators.unet.config import UNetConfig, UNetGeneratorConfig
from choreo.models.conditioner_config import ConditionerConfig
from choreo.motion.representation import representation
from choreo.motion.skeleton import WINDOW
from choreo.music.beats import RHYTHM_WIDTHS
from choreo.training.distillation import DistillationConfig
from choreo.training.recipe import GeneratorRecipe


class UNetRecipe(GeneratorRecipe):
    """One training run of a U-Net, from the motion itself or from a teacher.

    `conditioner.music_dim` and `conditioner.text_dim` must be the widths of the encoders.
    """

    architecture: Literal["unet"] = "unet"
    prediction: Prediction = Prediction.X0
    schedule: ScheduleName = ScheduleName.COSINE
    num_train_timesteps: int = 1000
    conditioner: ConditionerConfig = ConditionerConfig()
    denoiser: UNetConfig = UNetConfig()
    distillation: DistillationConfig | None = None
    """The teacher whose steps are learned instead of the motion itself; the network is the teacher's."""

    decisive: ClassVar[tuple[str, ...]] = (
        *GeneratorRecipe.decisive, "denoiser", "conditioner", "prediction", "schedule", "num_train_timesteps",
    )  # fmt: skip

    @model_validator(mode="after")
    def _networks_fit(self) -> Self:
        if self.conditioner.window != WINDOW or WINDOW % self.conditioner.frames_per_token:
            raise ValueError(f"conditioner: its window must be {WINDOW} frames, and a whole number of tokens")
        if self.denoiser.rhythm_channels not in RHYTHM_WIDTHS:
            widths = " or ".join(str(width) for width in RHYTHM_WIDTHS)
            raise ValueError(f"denoiser.rhythm_channels must be {widths}, got {self.denoiser.rhythm_channels}")
        if self.denoiser.context_dim != self.conditioner.context_dim:
            raise ValueError("denoiser.context_dim must be conditioner.context_dim")
        channels = representation(self.representation).channels
        if self.denoiser.channels != channels:
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

    @classmethod
    def completed(cls, document: Any, folder: Path) -> Any:
        """A document with `distillation`, completed by the network of the teacher.

        Raises:
            InvalidInput: no checkpoint there, or the recipe names a network of its own.
        """
        section = document.get("distillation") if isinstance(document, dict) else None
        if not isinstance(section, dict) or not isinstance(section.get("teacher"), str):
            return document
        teacher = folder / section["teacher"]
        try:
            config = read_config(teacher)
        except InvalidArtifact as error:
            raise InvalidInput("distillation.teacher", str(error)) from error
        if not isinstance(config, UNetGeneratorConfig):
            raise InvalidInput(
                "distillation.teacher", f"must be a U-Net, and {config.spec.name} is {config.spec.family}"
            )
        network = {
            "architecture": config.spec.family, "conditioner": config.conditioner, "denoiser": config.denoiser,
            "music_encoder": config.spec.music_encoder, "text_encoder": config.spec.text_encoder,
            "representation": config.spec.representation,
            **DiffusionParameters.of(config.spec).model_dump(),
        }  # fmt: skip
        own = network.keys() & document.keys()
        if own:
            raise InvalidInput(min(own), "is the teacher's; leave it out")
        return document | network | {"distillation": section | {"teacher": teacher.resolve()}}
