"""Sizes of a composite generator, and what a checkpoint of it holds."""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from choreo.generators.composite.graphs import PlanParameters, plan_graphs
from choreo.generators.unet.config import UNetGeneratorConfig
from choreo.models.tokenizer_config import TokenizerConfig


class GptConfig(BaseModel):
    """Sizes of the language model of motion, and how its sequences are spoilt in training.

    Attributes:
        context: tokens before the present one that it sees.
        corruption: least and greatest share of the tokens that training replaces by others, so that the model learns
            to go on after what it would not have said itself (T2M-GPT, Zhang et al. 2023, section 3.2).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    width: int = Field(256, ge=8, le=2048)
    layers: int = Field(6, ge=1, le=32)
    num_heads: int = Field(8, ge=1)
    context: int = Field(64, ge=2, le=1024)
    dropout: float = Field(0.2, ge=0, lt=1)
    corruption: tuple[float, float] = (0.2, 0.5)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.width % (2 * self.num_heads):
            raise ValueError(f"width must be a multiple of {2 * self.num_heads}, twice the heads, got {self.width}")
        low, high = self.corruption
        if not 0 <= low <= high < 1:
            raise ValueError("corruption must be two shares from 0 to below 1, the least one first")
        return self


class CompositeConfig(UNetGeneratorConfig):
    """A tokeniser, a language model of its tokens, and the U-Net that dances between key poses.

    Attributes:
        codebook: fingerprint of the tokeniser whose tokens the language model speaks (`motion_tokenizer.fingerprint`).
    """

    tokenizer: TokenizerConfig
    gpt: GptConfig
    codebook: str = Field("", pattern=r"^([0-9a-f]{64})?$")

    @model_validator(mode="after")
    def _plan_fits(self) -> Self:
        """The graphs of the spec are those of the networks, and all speak of the same motion."""
        spec, tokenizer = self.spec, self.tokenizer
        if (tokenizer.representation, tokenizer.frame_channels) != (spec.representation, spec.channels):
            raise ValueError(
                f"its tokeniser is of {tokenizer.frame_channels} channels of {tokenizer.representation}, but the spec "
                f"of {spec.channels} of {spec.representation}; train a tokeniser of that representation"
            )
        PlanParameters.of(spec)
        expected = plan_graphs(
            codes=tokenizer.codes,
            width=self.gpt.width,
            layers=self.gpt.layers,
            context=self.gpt.context,
            channels=spec.channels,
            music_dim=spec.music_dim,
            text_dim=spec.text_dim,
            rhythm_channels=self.denoiser.rhythm_channels,
        )
        for graph in expected:
            if graph not in spec.graphs:
                raise ValueError(f"the graph {graph.name!r} of the spec is not that of its network")
        return self
