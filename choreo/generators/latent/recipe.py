"""Recipes of latent generators."""

from typing import ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from choreo.diffusion.schedule import Prediction, ScheduleName
from choreo.generators.latent.config import LatentDenoiserConfig, VaeConfig
from choreo.motion.representation import representation
from choreo.music.beats import RHYTHM_WIDTHS
from choreo.training.losses import LossWeights
from choreo.training.options import TrainConfig
from choreo.training.recipe import GeneratorRecipe


class VaeLossWeights(BaseModel):
    """Weights of what the VAE is trained for besides the motion itself, whose weights are the recipe's `losses`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    divergence: float = Field(1e-4, ge=0)
    """Of the Kullback-Leibler divergence of the posterior, a mean over numbers of latents."""
    given: float = Field(0.5, ge=0)
    """Of the error at given numbers, from latents of what is given alone."""


class LatentRecipe(GeneratorRecipe):
    """One training run of a latent generator: its VAE by `vae_train`, then its denoiser by `train`."""

    architecture: Literal["latent"] = "latent"
    vae: VaeConfig = VaeConfig()
    vae_losses: VaeLossWeights = VaeLossWeights()
    vae_train: TrainConfig = TrainConfig(best_by="loss/total", validation_dances=0)
    denoiser: LatentDenoiserConfig = LatentDenoiserConfig()
    rhythm_channels: int = 8
    """Of `choreo.music.beats.beat_phase_channels`, from the first one on."""
    prediction: Prediction = Prediction.X0
    schedule: ScheduleName = ScheduleName.COSINE
    num_train_timesteps: int = 1000
    losses: LossWeights = LossWeights()
    train: TrainConfig = TrainConfig(learning_rate=1e-4)

    of_vae: ClassVar[tuple[str, ...]] = ("architecture", "representation", "vae")
    """Fields that the weights of the VAE depend on."""
    decisive: ClassVar[tuple[str, ...]] = (
        *GeneratorRecipe.decisive, "vae", "denoiser", "rhythm_channels", "prediction", "schedule",
        "num_train_timesteps",
    )  # fmt: skip

    @model_validator(mode="after")
    def _networks_fit(self) -> Self:
        if self.vae.representation != self.representation:
            raise ValueError(f"vae.representation must be {self.representation}, that of the recipe")
        channels = representation(self.representation).channels
        if self.vae.frame_channels != channels:
            raise ValueError(f"vae.frame_channels must be {channels}, those of {self.representation}")
        if self.vae.token_frames % self.denoiser.frames_per_context:
            raise ValueError(f"denoiser.frames_per_context must divide the {self.vae.token_frames} frames of a token")
        if self.rhythm_channels not in RHYTHM_WIDTHS:
            widths = " or ".join(str(width) for width in RHYTHM_WIDTHS)
            raise ValueError(f"rhythm_channels must be {widths}, got {self.rhythm_channels}")
        if not self.vae_train.best_by.startswith("loss/"):
            raise ValueError("vae_train.best_by must be a loss: a VAE makes no dances")
        if self.vae_train.mixed_precision != self.train.mixed_precision:
            raise ValueError("vae_train.mixed_precision must be train.mixed_precision: one process trains both")
        return self

    @property
    def window(self) -> int:
        """The VAE's."""
        return self.vae.window

    def smoke(self) -> Self:
        """Both parts for a minute."""
        recipe = super().smoke()
        steps = {"max_steps", "batch_size", "warmup_steps", "log_every", "validate_every", "save_every", "tracker"}
        return recipe.model_copy(
            update={"vae_train": self.vae_train.model_copy(update=recipe.train.model_dump(include=steps))}
        )
