"""Separate guidance of prompt and song: what a request for it needs, and what its motion says of it."""

from choreo.diffusion.guidance import separate_scales
from choreo.diffusion.lcm import Lcm
from choreo.errors import InvalidInput

_GUIDED = {
    "text_guidance": "prompt; give a text_prompt or segments",
    "music_guidance": "song; give one, or its features",
}


def check_guidance(name: str, scale: float | None, given: bool, sampler: str) -> None:
    """Check that there is something to guide by.

    Args:
        name: of the field.
        given: whether the request has what the field weighs.
        sampler: name of the sampler.

    Raises:
        InvalidInput: a scale without prompt or song, or for the sampler of distilled models.
    """
    if scale is None:
        return
    if not given:
        raise InvalidInput(name, f"is about the {_GUIDED[name]}")
    if sampler == Lcm.name:
        raise InvalidInput(name, f"is not for the sampler {sampler} of distilled models, whose guidance is within them")


def separate_guidance(scale: float, text: float | None, music: float | None) -> dict[str, float]:
    """The scales that acted, by the names of their fields; empty where text and music were not guided separately."""
    scales = separate_scales(scale, text, music)
    return {} if scales is None else dict(zip(("text_guidance", "music_guidance"), scales, strict=True))
