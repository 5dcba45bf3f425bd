"""Sizes of the U-Net, and what a checkpoint of it holds."""

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, model_validator

from choreo.generators.unet.graphs import unet_spec
from choreo.generators.windowed_config import WindowedConfig, check_networks


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


class UNetGeneratorConfig(WindowedConfig):
    """A U-Net with its conditioner, and the statistics of the music that the conditioner normalises by."""

    denoiser: UNetConfig

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
        check_networks(self, self.denoiser)
        return self
