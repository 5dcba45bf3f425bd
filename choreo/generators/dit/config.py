"""Sizes of the transformer, and what a checkpoint of it holds."""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from choreo.diffusion.parameters import DiffusionParameters
from choreo.generators.config import GeneratorConfig
from choreo.generators.spec import GraphSpec
from choreo.generators.windowed_spec import windowed_spec
from choreo.models.conditioner_config import ConditionerConfig


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


class DiTGeneratorConfig(GeneratorConfig):
    """A transformer with its conditioner, and the statistics of the music that the conditioner normalises by."""

    conditioner: ConditionerConfig
    denoiser: DiTConfig
    music_mean: tuple[float, ...]
    music_std: tuple[float, ...]

    def statistics(self) -> dict[str, tuple[float, ...]]:
        """Those of the motion and of the music."""
        return super().statistics() | {"music_mean": self.music_mean, "music_std": self.music_std}

    @model_validator(mode="after")
    def _spec_fits(self) -> Self:
        """The graphs of the spec are those of the networks, tensor by tensor and in the same order."""
        conditioner, denoiser = self.conditioner, self.denoiser
        if denoiser.context_dim != conditioner.context_dim:
            raise ValueError(
                f"context_dim is {conditioner.context_dim} in one network, {denoiser.context_dim} in the other"
            )
        if denoiser.frames_per_token != conditioner.frames_per_token:
            raise ValueError("frames_per_token must be the same in both networks")
        if self.spec.channels != denoiser.channels:
            raise ValueError(f"the spec has {self.spec.channels} channels, its network {denoiser.channels}")
        found = {graph.name: _tensors(graph) for graph in self.spec.graphs}
        for graph in self._graphs():
            if found.get(graph.name) != _tensors(graph):
                raise ValueError(
                    f"the spec gives the {graph.name} {found.get(graph.name)}, its network has {_tensors(graph)}"
                )
        if not len(self.music_mean) == len(self.music_std) == conditioner.music_dim:
            raise ValueError(f"music_mean and music_std must have {conditioner.music_dim} entries")
        return self

    def _graphs(self) -> tuple[GraphSpec, ...]:
        parameters = DiffusionParameters.of(self.spec)
        return windowed_spec(
            self.spec.name,
            family=self.spec.family,
            mean=self.spec.mean,
            std=self.spec.std,
            window=self.conditioner.window,
            context_dim=self.conditioner.context_dim,
            context_tokens=self.conditioner.context_tokens,
            music_dim=self.conditioner.music_dim,
            text_dim=self.conditioner.text_dim,
            rhythm_channels=self.denoiser.rhythm_channels,
            prediction=parameters.prediction,
            schedule=parameters.schedule,
            num_train_timesteps=parameters.num_train_timesteps,
        ).graphs


def _tensors(graph: GraphSpec) -> list[tuple[str, tuple[int, ...]]]:
    """Names and shapes of a graph's tensors in order, inputs before outputs."""
    return [(tensor.name, tensor.shape) for tensor in (*graph.inputs, *graph.outputs)]
