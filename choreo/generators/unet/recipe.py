"""Recipes of the U-Net."""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import model_validator

from choreo.diffusion.parameters import DiffusionParameters
from choreo.errors import InvalidArtifact, InvalidInput
from choreo.generators.checkpoint import read_config
from choreo.generators.unet.config import UNetConfig, UNetGeneratorConfig
from choreo.training.distillation import DistillationConfig
from choreo.training.windowed_recipe import WindowedRecipe, check_sizes


class UNetRecipe(WindowedRecipe):
    """One training run of a U-Net, from the motion itself or from a teacher.

    `conditioner.music_dim` and `conditioner.text_dim` must be the widths of the encoders.
    """

    architecture: Literal["unet"] = "unet"
    denoiser: UNetConfig = UNetConfig()
    distillation: DistillationConfig | None = None
    """The teacher whose steps are learned instead of the motion itself; the network is the teacher's."""

    @model_validator(mode="after")
    def _networks_fit(self) -> Self:
        check_sizes(self, self.denoiser)
        return self

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
