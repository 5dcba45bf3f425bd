"""Denoisers by name. A new architecture adds one entry; the wire contract stays."""

from choreo.errors import InvalidInput
from choreo.generators.spec import ModelSpec
from choreo.generators.unet.denoiser import Denoiser
from choreo.generators.unet.network import MotionUNet, UNetConfig


def denoiser(name: str, config: UNetConfig, spec: ModelSpec) -> Denoiser:
    """Build the denoiser called `name`.

    Raises:
        InvalidInput: unknown name.
    """
    match name:
        case "unet":
            return Denoiser(MotionUNet(config), spec)
    raise InvalidInput("architecture", f"must be 'unet', got {name!r}")
