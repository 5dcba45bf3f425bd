"""Sizes of a motion tokeniser, which are known without its weights."""

import math
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

TOKEN_FRAMES: Final = 4
"""Frames that a token stands for: the rate is halved twice."""


class TokenizerConfig(BaseModel):
    """Sizes of a motion tokeniser: an encoder, a quantiser and a decoder.

    Attributes:
        representation: of the motion; weights are of no use to another one.
        frame_channels: numbers per frame of the representation.
        quantizer: `vq`, a learned codebook (van den Oord et al. 2017), or `fsq`, a grid (Mentzer et al. 2024).
        codebook_size: codes of the learned codebook.
        code_channels: numbers of a code of the learned codebook.
        levels: values that each number of a grid's code may take.
        width: channels of the convolutions.
        dilations: of the residual convolutions at each rate.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    representation: str = "root-velocity-66"
    frame_channels: int = Field(66, ge=1)
    quantizer: Literal["vq", "fsq"] = "vq"
    codebook_size: int = Field(512, ge=2, le=65_536)
    code_channels: int = Field(64, ge=1, le=1024)
    levels: tuple[int, ...] = (8, 8, 8)
    width: int = Field(256, ge=8, le=2048)
    dilations: tuple[int, ...] = (9, 3, 1)

    @field_validator("levels")
    @classmethod
    def _levels(cls, levels: tuple[int, ...]) -> tuple[int, ...]:
        if not levels or min(levels) < 2 or math.prod(levels) > 65_536:
            raise ValueError("must be one number or more, each 2 or more, whose product is at most 65536")
        return levels

    @field_validator("dilations")
    @classmethod
    def _dilations(cls, dilations: tuple[int, ...]) -> tuple[int, ...]:
        if not dilations or min(dilations) < 1 or max(dilations) > 64:
            raise ValueError("must be one number or more, each from 1 to 64")
        return dilations

    @property
    def codes(self) -> int:
        """Tokens that there are."""
        return self.codebook_size if self.quantizer == "vq" else math.prod(self.levels)

    @property
    def latent_channels(self) -> int:
        """Numbers that are quantised."""
        return self.code_channels if self.quantizer == "vq" else len(self.levels)
