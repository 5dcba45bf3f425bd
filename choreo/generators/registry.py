"""Families of generators by name: those of this package, and those of installed packages.

A package brings a family by an entry point of the group "choreo.generators", `name = "module:class"`. Nothing is
imported before a family is asked for, and one that cannot be imported disturbs no other.
"""

import importlib
import importlib.metadata
from typing import Final

from choreo.errors import InvalidArtifact
from choreo.generators.base import Generator
from choreo.generators.spec import GeneratorSpec

GROUP: Final = "choreo.generators"
BUILT_IN: Final = {
    "unet": "choreo.generators.unet.generator:UNetGenerator",
    "dit-adaln": "choreo.generators.dit.generator:AdaLNGenerator",
    "dit-crossattn": "choreo.generators.dit.generator:CrossAttentionGenerator",
    "dit-incontext": "choreo.generators.dit.generator:InContextGenerator",
    "composite": "choreo.generators.composite.generator:CompositeGenerator",
    "duet": "choreo.generators.duet.generator:DuetGenerator",
    "latent": "choreo.generators.latent.generator:LatentGenerator",
}


class GeneratorUnavailable(InvalidArtifact):
    """A family of generators is unknown, defined twice, or cannot be imported."""


def families() -> dict[str, list[str]]:
    """Where each family is defined, "module:class" by name; more than one place is an error once it is asked for."""
    found = {name: [place] for name, place in BUILT_IN.items()}
    for point in importlib.metadata.entry_points(group=GROUP):
        places = found.setdefault(point.name, [])
        if point.value not in places:
            places.append(point.value)
    return found


def generator_class(family: str) -> type[Generator]:
    """The class of a family.

    Raises:
        GeneratorUnavailable: it is unknown, defined more than once, or its import fails.
    """
    found = families()
    places = found.get(family, [])
    if not places:
        raise GeneratorUnavailable(f"no generator family {family!r} is installed; there are {', '.join(sorted(found))}")
    if len(places) > 1:
        raise GeneratorUnavailable(f"the generator family {family!r} is defined more than once: {', '.join(places)}")
    module, _, name = places[0].partition(":")
    try:
        found_class = getattr(importlib.import_module(module), name)
    except Exception as error:  # whatever a foreign module raises must not look like a defect of this program
        reason = f"{type(error).__name__}: {error}"
        raise GeneratorUnavailable(
            f"the generator family {family!r} cannot be imported ({places[0]}): {reason}"
        ) from error
    if not (isinstance(found_class, type) and issubclass(found_class, Generator)):
        raise GeneratorUnavailable(f"{places[0]} is not a generator class, as the family {family!r} needs")
    return found_class


def generator(spec: GeneratorSpec) -> Generator:
    """The generator that a spec describes.

    Raises:
        GeneratorUnavailable: see `generator_class`.
        InvalidArtifact: the spec lacks what the family needs.
    """
    try:
        return generator_class(spec.family)(spec)
    except GeneratorUnavailable as error:
        raise GeneratorUnavailable(f"{spec.name}: {error}") from error
