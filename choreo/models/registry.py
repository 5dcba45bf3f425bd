"""Denoisers by name. A new architecture adds one entry; the wire contract stays."""

from choreo.errors import InvalidInput
from choreo.models.denoiser import Denoiser, ResidualDenoiser, VelocityDenoiser
from choreo.models.spec import ModelSpec
from choreo.models.unet import MotionUNet, UNetConfig


def denoiser(name: str, config: UNetConfig, spec: ModelSpec) -> Denoiser:
    """Build the denoiser called `name`.

    Raises:
        InvalidInput: unknown name.
    """
    match name:
        case "unet":
            return ResidualDenoiser(MotionUNet(config), spec)
        case "unet-v":
            return VelocityDenoiser(MotionUNet(config), spec)
    raise InvalidInput("architecture", f"must be 'unet' or 'unet-v', got {name!r}")
