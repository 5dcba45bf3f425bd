"""Recipes of composite generators."""

from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from choreo.diffusion.parameters import DiffusionParameters
from choreo.errors import InvalidArtifact, InvalidInput
from choreo.generators.checkpoint import read_config
from choreo.generators.composite.config import GptConfig
from choreo.generators.composite.graphs import PlanParameters
from choreo.generators.unet.config import UNetConfig, UNetGeneratorConfig
from choreo.models.tokenizer_config import TOKEN_FRAMES, TokenizerConfig
from choreo.training.losses import LossWeights
from choreo.training.options import TrainConfig
from choreo.training.windowed_recipe import WindowedRecipe, check_sizes


class SpoiltKeyPoses(BaseModel):
    """How key poses are spoilt while the U-Net learns to dance between them; it never gets clean ones only."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reconstructed: float = Field(0.5, ge=0, le=1)
    """Share of the windows whose given poses are the tokeniser's reconstruction."""
    noisy: float = Field(0.3, ge=0, le=1)
    """Share of the windows whose given poses have noise."""
    noise: float = Field(0.15, ge=0)
    """Greatest standard deviation of the noise, in normalised units."""
    planned: float = Field(0.6, ge=0, le=1)
    """Share of the windows that have key poses at distances like those of beats instead of what the masks give."""
    apart: tuple[int, int] = (8, 32)
    """Least and greatest distance of these, frames."""

    @model_validator(mode="after")
    def _shares(self) -> Self:
        if self.reconstructed + self.noisy > 1:
            raise ValueError("reconstructed and noisy must sum to at most 1")
        if not 1 <= self.apart[0] <= self.apart[1]:
            raise ValueError("apart must be two numbers of frames, the least one first")
        return self


class CompositeRecipe(WindowedRecipe):
    """One training run: the tokeniser by `tokenizer_train`, the language model by `gpt_train`, the U-Net by `train`."""

    architecture: Literal["composite"] = "composite"
    in_betweener: Path | None = None
    """Checkpoint of a U-Net that learns on, and says what its networks are; without one the U-Net begins anew."""
    denoiser: UNetConfig = UNetConfig()
    tokenizer: TokenizerConfig = TokenizerConfig()
    commitment: float = Field(0.02, ge=0)
    """Weight of the distance of latents from their codes."""
    tokenizer_losses: LossWeights = LossWeights()
    tokenizer_train: TrainConfig = TrainConfig(learning_rate=2e-4, best_by="loss/total", validation_dances=0)
    gpt: GptConfig = GptConfig()
    plan: PlanParameters = PlanParameters()
    gpt_train: TrainConfig = TrainConfig(learning_rate=3e-4, best_by="loss/total", validation_dances=0)
    key_poses: SpoiltKeyPoses = SpoiltKeyPoses()

    of_tokenizer: ClassVar[tuple[str, ...]] = ("architecture", "representation", "tokenizer")
    """Fields that the weights of the tokeniser depend on."""
    of_gpt: ClassVar[tuple[str, ...]] = (*of_tokenizer, "music_encoder", "text_encoder", "gpt")
    """Fields that those of the language model depend on."""
    decisive: ClassVar[tuple[str, ...]] = (*WindowedRecipe.decisive, "tokenizer", "gpt")

    @model_validator(mode="after")
    def _networks_fit(self) -> Self:
        check_sizes(self, self.denoiser)
        tokenizer = self.tokenizer
        if tokenizer.representation != self.representation:
            raise ValueError(f"tokenizer.representation must be {self.representation}, that of the recipe")
        if tokenizer.frame_channels != self.denoiser.channels:
            raise ValueError(f"tokenizer.frame_channels must be {self.denoiser.channels}, those of the representation")
        for name in ("tokenizer_train", "gpt_train"):
            options: TrainConfig = getattr(self, name)
            if not options.best_by.startswith("loss/"):
                raise ValueError(f"{name}.best_by must be a loss: it makes no dances")
            if options.mixed_precision != self.train.mixed_precision:
                raise ValueError(f"{name}.mixed_precision must be train.mixed_precision: one process trains all")
        return self

    @property
    def plan_window(self) -> int:
        """Frames of the windows that tokeniser and language model learn from."""
        return self.gpt.context * TOKEN_FRAMES

    @classmethod
    def completed(cls, document: Any, folder: Path) -> Any:
        """A document with `in_betweener`, completed by the network of that checkpoint.

        Raises:
            InvalidInput: no U-Net there, or the recipe names a network of its own.
        """
        if not isinstance(document, dict) or not isinstance(document.get("in_betweener"), str):
            return document
        checkpoint = folder / document["in_betweener"]
        try:
            config = read_config(checkpoint)
        except InvalidArtifact as error:
            raise InvalidInput("in_betweener", str(error)) from error
        if not isinstance(config, UNetGeneratorConfig) or config.distilled is not None:
            raise InvalidInput("in_betweener", f"must be a U-Net that is not distilled, not {config.spec.name}")
        network = {
            "conditioner": config.conditioner, "denoiser": config.denoiser, "music_encoder": config.spec.music_encoder,
            "text_encoder": config.spec.text_encoder, "representation": config.spec.representation,
            **DiffusionParameters.of(config.spec).model_dump(),
        }  # fmt: skip
        if own := network.keys() & document.keys():
            raise InvalidInput(min(own), "is the in-betweener's; leave it out")
        return document | network | {"in_betweener": checkpoint.resolve()}

    def smoke(self) -> Self:
        """All three parts for a minute."""
        recipe = super().smoke()
        steps = {"max_steps", "batch_size", "warmup_steps", "log_every", "validate_every", "save_every", "tracker"}
        short = recipe.train.model_dump(include=steps)
        parts = {name: getattr(self, name).model_copy(update=short) for name in ("tokenizer_train", "gpt_train")}
        return recipe.model_copy(update=parts)
