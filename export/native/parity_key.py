"""Under which name the parity of a compiled engine is recorded, beside that of its graph."""

from typing import Final

from choreo.generators.registry import generator_class
from choreo.generators.spec import GeneratorSpec

NATIVE: Final = "native"


def native_key(spec: GeneratorSpec, graph: str) -> str:
    """The key; with the graph's name where several graphs of a family can be compiled."""
    return NATIVE if len(generator_class(spec.family).lowerings) == 1 else f"{graph}-{NATIVE}"
