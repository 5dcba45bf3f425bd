"""Ways to denoise by name: how many evaluations a dance may cost."""

from dataclasses import dataclass
from typing import Final

from choreo.errors import InvalidInput


@dataclass(frozen=True)
class Preset:
    """A sampler, its steps, and where guidance acts.

    Attributes:
        sampler: name, see `choreo.diffusion.samplers`.
        num_steps: denoising steps.
        guidance_low: lowest noise, t / T, at which guidance acts (Kynkaanniemi et al. 2024).
        guidance_high: highest one. Outside there are no unconditional rows, so a step costs half.
    """

    sampler: str
    num_steps: int
    guidance_low: float = 0.0
    guidance_high: float = 1.0


PRESETS: Final = {
    "reference": Preset("ddim", 50),
    "fast": Preset("dpm++2m", 6, guidance_low=0.3),
    "draft": Preset("dpm++2m", 4, guidance_low=0.3),
}
"""The first one is the default. What each costs in quality is in docs/performance.md."""


def preset(name: str) -> Preset:
    """Preset by name.

    Raises:
        InvalidInput: unknown name.
    """
    if name not in PRESETS:
        raise InvalidInput("preset", f"must be one of {', '.join(PRESETS)}, got {name[:32]!r}")
    return PRESETS[name]
