"""Denoisers by name. A new architecture adds one entry; the wire contract stays."""

from choreo.errors import InvalidInput
from choreo.models.denoiser import Denoiser
from choreo.models.spec import ModelSpec
from choreo.models.unet import MotionUNet, UNetConfig


def denoiser(name: str, config: UNetConfig, spec: ModelSpec) -> Denoiser:
    """Build the denoiser called `name`.

    Raises:
        InvalidInput: unknown name.
    """
    match name:
        case "unet":
            return Denoiser(MotionUNet(config), spec)
    raise InvalidInput("architecture", f"must be 'unet', got {name!r}")
