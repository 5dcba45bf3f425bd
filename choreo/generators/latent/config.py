"""Sizes of the motion VAE and of the latent denoiser, and what a checkpoint of both holds."""

from typing import Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from choreo.diffusion.parameters import DiffusionParameters
from choreo.generators.config import GeneratorConfig
from choreo.generators.latent.graphs import PATCH, LatentScale, latent_spec
from choreo.motion.representation import ROOT_VELOCITY_66

DILATIONS: Final = (1, 3)
"""Of the convolutions at the lowest rate."""


class VaeConfig(BaseModel):
    """Sizes of the motion VAE.

    A window of `window` frames becomes `tokens` latent tokens of `channels` numbers: two convolutions halve the rate,
    and a third one makes one token of `window / 4 / tokens` positions. Every token stands for a stretch of time of its
    own, so that windows of a long motion can share tokens. 1 token of 256 numbers for 200 frames is the source
    document's size; the default is that of MotionLCM-V2, whose authors found that one token loses detail.

    Attributes:
        representation: of the motion; weights are of no use to another one.
        frame_channels: numbers per frame of the representation.
        width: channels of the convolutions.
        decoder: `convolution`, or `mlp`, the source document's: layers over the whole window with LayerNorm and GELU,
            for a single token.
        overlap: tokens that neighbouring windows of a long motion share; a single token has none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    representation: str = ROOT_VELOCITY_66.name
    frame_channels: int = 66
    window: int = Field(256, ge=4)
    tokens: int = Field(16, ge=1)
    channels: int = Field(32, ge=1)
    width: int = Field(256, ge=8)
    decoder: Literal["convolution", "mlp"] = "convolution"
    overlap: int = Field(4, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _single(cls, document: Any) -> Any:
        """A single token overlaps no other unless somebody says so, which is refused."""
        if isinstance(document, dict) and document.get("tokens") == 1:
            return {"overlap": 0} | document
        return document

    @property
    def token_frames(self) -> int:
        """Frames that a token stands for."""
        return self.window // self.tokens

    @property
    def reach(self) -> int:
        """Frames at either end of a decoded window that depend on where the window ends."""
        return 2 * PATCH * sum(DILATIONS) + PATCH * 3

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.window % (2 * PATCH * self.tokens):
            raise ValueError(f"window must be a multiple of {2 * PATCH * self.tokens}, got {self.window}")
        if self.tokens == 1:
            if self.overlap:
                raise ValueError("overlap must be 0 for a single token")
            return self
        if self.decoder == "mlp":
            raise ValueError("decoder: mlp is for a single token; several are decoded by convolutions")
        needed = 2 * -(-self.reach // self.token_frames)
        if self.overlap < needed:
            raise ValueError(
                f"overlap must be {needed} tokens or more, so that windows of a long motion are decoded alike where "
                f"they meet, in the middle of it; got {self.overlap}"
            )
        if 2 * self.overlap > self.tokens:
            raise ValueError(f"overlap must be at most half of the {self.tokens} tokens, got {self.overlap}")
        return self


class LatentDenoiserConfig(BaseModel):
    """Sizes of the transformer over latent tokens."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    layers: int = Field(7, ge=1)
    width: int = Field(256, ge=8)
    num_heads: int = Field(4, ge=1)
    feed_forward: int = Field(4, ge=1)
    """Width of the feed-forward layers, in widths."""
    frames_per_context: int = Field(4, ge=1)
    """Consecutive frames of music, rhythm and prior that are one token of the context."""
    dropout: float = Field(0.1, ge=0, lt=1)


class LatentConfig(GeneratorConfig):
    """A latent generator: VAE, denoiser, and the statistics of the music that the denoiser normalises by."""

    vae: VaeConfig
    denoiser: LatentDenoiserConfig
    music_mean: tuple[float, ...]
    music_std: tuple[float, ...]

    def statistics(self) -> dict[str, tuple[float, ...]]:
        """Those of the motion, of the music and of the latents, where they have been measured."""
        scale = LatentScale.of(self.spec)
        latents = {} if scale is None else {"latent_mean": scale.latent_mean, "latent_std": scale.latent_std}
        return super().statistics() | {"music_mean": self.music_mean, "music_std": self.music_std} | latents

    @model_validator(mode="after")
    def _spec_fits(self) -> Self:
        """The graphs of the spec are those of the networks, and the VAE is of the spec's representation."""
        spec, vae = self.spec, self.vae
        if spec.representation != vae.representation:
            raise ValueError(
                f"its VAE was trained on {vae.representation}, but the spec is of {spec.representation}; train a VAE "
                "of that representation"
            )
        if spec.channels != vae.frame_channels:
            raise ValueError(f"the spec has {spec.channels} channels, its VAE {vae.frame_channels}")
        if vae.token_frames % self.denoiser.frames_per_context:
            raise ValueError(f"denoiser.frames_per_context must divide the {vae.token_frames} frames of a token")
        if not len(self.music_mean) == len(self.music_std) == spec.music_dim:
            raise ValueError(f"music_mean and music_std must have {spec.music_dim} entries")
        parameters = DiffusionParameters.of(spec)
        expected = latent_spec(
            spec.name,
            mean=spec.mean,
            std=spec.std,
            window=vae.window,
            tokens=vae.tokens,
            channels=vae.channels,
            music_dim=spec.music_dim,
            text_dim=spec.text_dim,
            rhythm_channels=self.rhythm_channels,
            parameters=parameters,
        ).graphs
        if spec.graphs != expected:
            raise ValueError("the graphs of the spec are not those of its networks")
        return self

    @property
    def rhythm_channels(self) -> int:
        """Rhythm channels that the denoiser takes."""
        graph = next((graph for graph in self.spec.graphs if "rhythm" in graph.input_shapes), None)
        if graph is None:
            raise ValueError("no graph of the spec takes rhythm")
        return graph.input_shapes["rhythm"][-1]
