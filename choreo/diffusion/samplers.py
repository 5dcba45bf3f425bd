"""The samplers by name."""

from choreo.diffusion.ddim import Ddim
from choreo.diffusion.ddpm import Ddpm
from choreo.diffusion.dpm_solver import DpmSolver2M
from choreo.diffusion.lcm import Lcm
from choreo.diffusion.step import Sampler
from choreo.errors import InvalidInput

SAMPLERS = ("ddim", "ddpm", "dpm++2m", "lcm")


def sampler(name: str) -> Sampler:
    """Sampler by name.

    Raises:
        InvalidInput: unknown name.
    """
    match name:
        case "ddim":
            return Ddim()
        case "ddpm":
            return Ddpm()
        case "dpm++2m":
            return DpmSolver2M()
        case "lcm":
            return Lcm()
    raise InvalidInput("sampler", f"must be one of {', '.join(SAMPLERS)}, got {name!r}")
