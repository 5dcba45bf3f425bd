"""What stages tell of themselves for metrics, wherever they run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable


@dataclass(frozen=True)
class CacheFigures:
    """What a cache found and did not find since it was made, and the memory that it takes."""

    hits: int
    misses: int
    bytes: int


@dataclass(frozen=True)
class StageFigures:
    """What a stage tells of itself.

    Attributes:
        replica: that it runs in, if it does; another one after a restart.
        caches: by name.
        triton_restarts: of the Triton that is supervised on its host.
    """

    replica: str = ""
    caches: Mapping[str, CacheFigures] = field(default_factory=dict)
    triton_restarts: int = 0


@runtime_checkable
class TellsFigures(Protocol):
    """A stage, or what stands in front of one, that has something to tell of itself."""

    async def figures(self) -> StageFigures:
        """Tell it."""
        ...


async def figures_of(stage: object) -> StageFigures:
    """What a stage tells of itself; nothing where it has nothing to tell."""
    return await stage.figures() if isinstance(stage, TellsFigures) else StageFigures()
