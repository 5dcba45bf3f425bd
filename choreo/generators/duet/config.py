"""Sizes of the networks of duets, and what a checkpoint holds."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from choreo.generators.config import GeneratorConfig
from choreo.generators.duet.graphs import BODY, RELATION, duet_spec
from choreo.motion.pose_states import STATE


class DuetNetworkConfig(BaseModel):
    """Sizes; the defaults are the best constants of the source document.

    Attributes:
        kind: `vae`, the document's: an autoencoder for each dancer and one for what is between them, and a transformer
            decoder; or `pair`: one network for both dancers, whichever of them is given.
        width: features of the linear layers and of attention.
        heads: of attention.
        latent: numbers of a latent.
        units: of the LSTMs.
        layers: of the decoder.
        feed_forward: width of its feed-forward layers.
        frames: W of the follower that it sees.
        look_ahead: frames of the leader that it sees ahead of the frame that it makes.
        dropout: in the decoder.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["vae", "pair"] = "vae"
    width: int = Field(64, ge=8, le=1024)
    heads: int = Field(8, ge=1, le=64)
    latent: int = Field(64, ge=1, le=1024)
    units: int = Field(64, ge=1, le=1024)
    layers: int = Field(3, ge=1, le=24)
    feed_forward: int = Field(256, ge=8, le=8192)
    frames: int = Field(64, ge=2, le=512)
    look_ahead: int = Field(6, ge=0, le=90)
    dropout: float = Field(0.1, ge=0, lt=1)

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.width % (2 * self.heads):
            raise ValueError(f"width must be a multiple of {2 * self.heads}, twice the heads, got {self.width}")
        return self


class DuetStatistics(BaseModel):
    """Means and standard deviations of what the networks see, from training windows.

    Attributes:
        body: of the body of a dancer (66) in the window's axes.
        state: of the follower's states (135).
        relation: of what is between the two (70).
        step: standard deviation of the change of a state from frame to frame.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    body_mean: tuple[float, ...]
    body_std: tuple[float, ...]
    state_mean: tuple[float, ...]
    state_std: tuple[float, ...]
    relation_mean: tuple[float, ...]
    relation_std: tuple[float, ...]
    step_std: tuple[float, ...]

    @model_validator(mode="after")
    def _widths(self) -> Self:
        for name, width in (("body", BODY), ("state", STATE), ("relation", RELATION), ("step", STATE)):
            for part in ("mean", "std"):
                values = getattr(self, f"{name}_{part}", None)
                if values is not None and len(values) != width:
                    raise ValueError(f"{name}_{part} must have {width} entries, got {len(values)}")
                if values is not None and part == "std" and min(values) <= 0:
                    raise ValueError(f"{name}_std must be positive")
        return self


class DuetConfig(GeneratorConfig):
    """A duet generator."""

    network: DuetNetworkConfig
    windows: DuetStatistics

    def statistics(self) -> dict[str, tuple[float, ...]]:
        """Those of the windows."""
        return dict(self.windows)

    @model_validator(mode="after")
    def _spec_fits(self) -> Self:
        """The graph of the spec is that of the network."""
        if (
            self.spec.graphs
            != duet_spec(self.spec.name, self.network.frames, self.network.look_ahead, self.noise).graphs
        ):
            raise ValueError("the graph of the spec is not that of its network")
        return self

    @property
    def noise(self) -> int:
        """Random numbers of a frame."""
        return 2 * self.network.latent
