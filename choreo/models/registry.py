"""Denoisers by name. A new architecture adds one entry; the wire contract stays."""

from torch import nn

from choreo.errors import InvalidInput
from choreo.models.unet import MotionUNet, UNetConfig


def denoiser(name: str, config: UNetConfig) -> nn.Module:
    """Build the denoiser called `name`.

    Raises:
        InvalidInput: unknown name.
    """
    match name:
        case "unet":
            return MotionUNet(config)
    raise InvalidInput("architecture", f"must be 'unet', got {name!r}")
