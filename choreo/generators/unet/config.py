"""Sizes of the U-Net, and what a checkpoint of it holds."""

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, model_validator

from choreo.diffusion.parameters import DiffusionParameters
from choreo.generators.config import GeneratorConfig
from choreo.generators.spec import GraphSpec
from choreo.generators.unet.graphs import unet_spec
from choreo.models.conditioner_config import ConditionerConfig


class UNetConfig(BaseModel):
    """Sizes of the U-Net. The defaults are the documents' configuration; the shipped model is smaller.

    `attention_resolutions` are down-sampling factors (1 is the full frame rate), not level indices.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    channels: int = 66
    rhythm_channels: int = 4
    """Of `choreo.music.beats.beat_phase_channels`, from the first one on; 8 has bars and closeness of beats."""
    model_channels: int = 256
    channel_mult: tuple[int, ...] = (1, 2, 4, 8)
    num_res_blocks: int = 2
    attention_resolutions: tuple[int, ...] = (4, 2, 1)
    patch_frames: int = 1
    """Consecutive frames that the first layer takes as one position: the widest and dearest resolution is T / this."""
    num_heads: int = 8
    context_dim: int = 768
    frames_per_token: int = 4
    kernel_size: int = 3
    num_groups: int = 8
    dropout: float = 0.1

    @property
    def factor(self) -> int:
        """Frames that one position of the lowest resolution stands for; T is padded to a multiple of it."""
        return self.patch_frames * 2 ** (len(self.channel_mult) - 1)


class UNetGeneratorConfig(GeneratorConfig):
    """A U-Net with its conditioner, and the statistics of the music that the conditioner normalises by."""

    conditioner: ConditionerConfig
    denoiser: UNetConfig
    music_mean: tuple[float, ...]
    music_std: tuple[float, ...]

    def statistics(self) -> dict[str, tuple[float, ...]]:
        """Those of the motion and of the music."""
        return super().statistics() | {"music_mean": self.music_mean, "music_std": self.music_std}

    @model_validator(mode="before")
    @classmethod
    def _of_version_0_1(cls, document: Any) -> Any:
        """Checkpoints of version 0.1 have the sizes of their tensors where the spec has graphs now."""
        if not isinstance(document, dict) or "architecture" not in document:
            return document
        sizes = {name: value for name, value in document["spec"].items() if name != "channels"}
        rest = {name: value for name, value in document.items() if name != "architecture"}
        return rest | {"spec": unet_spec(**sizes)}

    @model_validator(mode="after")
    def _spec_fits(self) -> Self:
        """The graphs of the spec are those of the networks, tensor by tensor and in the same order."""
        spec, conditioner, unet = self.spec, self.conditioner, self.denoiser
        if spec.channels != unet.channels:
            raise ValueError(f"the spec has {spec.channels} channels, its network {unet.channels}")
        if spec.window != conditioner.window:
            raise ValueError(f"the spec has a window of {spec.window} frames, its network of {conditioner.window}")
        if unet.context_dim != conditioner.context_dim:
            raise ValueError(
                f"context_dim is {conditioner.context_dim} in one network, {unet.context_dim} in the other"
            )
        found = {graph.name: _tensors(graph) for graph in spec.graphs}
        for graph in self._graphs():
            if found.get(graph.name) != _tensors(graph):
                raise ValueError(
                    f"the spec gives the {graph.name} {found.get(graph.name)}, its network has {_tensors(graph)}"
                )
        if not len(self.music_mean) == len(self.music_std) == conditioner.music_dim:
            raise ValueError(f"music_mean and music_std must have {conditioner.music_dim} entries")
        return self

    def _graphs(self) -> tuple[GraphSpec, ...]:
        """The graphs of these networks."""
        parameters = DiffusionParameters.of(self.spec)
        return unet_spec(
            self.spec.name,
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
