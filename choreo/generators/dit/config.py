"""Sizes of the transformer, and what a checkpoint of it holds."""

from typing import Final, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from choreo.generators.windowed_config import WindowedConfig, check_networks

FAMILIES: Final = ("dit-adaln", "dit-crossattn", "dit-incontext")
"""Where conditions enter: by modulated norms, by cross-attention, or as tokens of the sequence."""


class DiTConfig(BaseModel):
    """Sizes of a diffusion transformer."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    channels: int = 66
    rhythm_channels: int = 8
    """Of `choreo.music.beats.beat_phase_channels`, from the first one on."""
    width: int = Field(256, ge=4)
    layers: int = Field(8, ge=1)
    num_heads: int = Field(8, ge=1)
    hidden: int = Field(684, ge=1)
    """Width within SwiGLU; 8 / 3 of `width` has the weights of a plain layer of four times the width."""
    patch_frames: int = Field(1, ge=1)
    """Consecutive frames that are one token."""
    context_dim: int = 128
    frames_per_token: int = Field(4, ge=1)
    """Frames that one token of the music stands for."""
    dropout: float = Field(0.1, ge=0, lt=1)

    @model_validator(mode="after")
    def _heads_fit(self) -> Self:
        if self.width % (2 * self.num_heads):
            raise ValueError(f"width {self.width} must be a multiple of 2 x num_heads ({2 * self.num_heads})")
        return self


class DiTGeneratorConfig(WindowedConfig):
    """A transformer with its conditioner, and the statistics of the music that the conditioner normalises by."""

    denoiser: DiTConfig

    @model_validator(mode="after")
    def _spec_fits(self) -> Self:
        if self.spec.family not in FAMILIES:
            raise ValueError(f"the family {self.spec.family!r} is none of the transformers' ({', '.join(FAMILIES)})")
        check_networks(self, self.denoiser)
        if self.denoiser.frames_per_token != self.conditioner.frames_per_token:
            raise ValueError("frames_per_token must be the same in both networks")
        return self
