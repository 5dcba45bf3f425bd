"""Recipes of duet generators."""

from typing import ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from choreo.data.windows.couples import CoupleOptions
from choreo.generators.duet.config import DuetNetworkConfig
from choreo.motion.representation import ROOT_VELOCITY_66
from choreo.training.options import TrainConfig
from choreo.training.recipe import GeneratorRecipe


class DuetLossWeights(BaseModel):
    """Weights of the terms; the first three are the source document's.

    Errors of joints count relative to how far joints move from one frame to the next.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    mse: float = Field(0.5, ge=0)
    velocity: float = Field(0.05, ge=0)
    """Of the error of joint velocities."""
    kl: float = Field(5e-5, ge=0)
    rotation: float = Field(0.1, ge=0)
    """Of the error of rotations, which positions do not determine."""
    distance: float = Field(0.0, ge=0)
    """Of the error of the distances of ten joints to the other dancer's ten, the more the nearer they are."""
    facing: float = Field(0.0, ge=0)
    """Of the error of the direction faced."""


class CoupleVariations(BaseModel):
    """How couples are varied, see `choreo.data.windows.couples.CoupleOptions`, and what of the past is spoilt."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    swap: float = Field(0.0, ge=0, le=1)
    mirror: float = Field(0.5, ge=0, le=1)
    heading: float = Field(0.3, ge=0, le=3)
    tempos: tuple[float, ...] = (1.0, 0.87, 1.15)
    noise: float = Field(0.5, ge=0, le=10)
    """Standard deviation of the noise on the follower's past, in units of the usual change from frame to frame."""
    misplaced: float = Field(0.06, ge=0, le=1)
    """Standard deviation of the way by which the follower's past is out of its place, metres."""
    own: int = Field(2, ge=0, le=8)
    """Passes in which frames of the follower's past are replaced by what the network makes of the frames before
    them, so that it learns to go on from its own frames (parallel scheduled sampling, Duckworth et al. 2019)."""

    def options(self, network: DuetNetworkConfig) -> CoupleOptions:
        """How windows are cut for a network."""
        return CoupleOptions(network.frames, network.look_ahead, self.swap, self.mirror, self.heading, self.tempos)


class DuetRecipe(GeneratorRecipe):
    """One training run of a duet generator."""

    architecture: Literal["duet"] = "duet"
    network: DuetNetworkConfig = DuetNetworkConfig()
    couple_losses: DuetLossWeights = DuetLossWeights()
    variations: CoupleVariations = CoupleVariations()
    no_input_prob: float = Field(0.1, ge=0, lt=1)
    """Share of batches in which a single dancer's autoencoder alone is trained, to give back what it is given."""
    train: TrainConfig = TrainConfig(best_by="loss/total", validation_dances=0)

    decisive: ClassVar[tuple[str, ...]] = ("architecture", "representation", "network")

    @model_validator(mode="after")
    def _of_couples(self) -> Self:
        if self.representation != ROOT_VELOCITY_66.name:
            raise ValueError(f"representation must be {ROOT_VELOCITY_66.name}: duets are rotations inside")
        if self.train.best_by != "loss/total":
            raise ValueError("train.best_by must be loss/total: what held-out couples are compared by")
        if self.no_input_prob and self.network.kind != "vae":
            raise ValueError("no_input_prob must be 0 for a network without autoencoders")
        if not self.variations.tempos or not all(0.5 <= tempo <= 2 for tempo in self.variations.tempos):
            raise ValueError("variations.tempos must be one or more speeds from 0.5 to 2")
        return self

    @property
    def window(self) -> int:
        """The follower's."""
        return self.network.frames
