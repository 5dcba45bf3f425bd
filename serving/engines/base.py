"""What an engine is: it evaluates graphs of generators, in this process or on Triton servers."""

import time
from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from choreo.errors import DeadlineExceeded
from choreo.generators.base import Tensors
from choreo.generators.spec import GeneratorSpec


class Engine(Protocol):
    """Evaluates graphs row by row; rows of one call are independent of each other.

    Graphs are named `<generator>.<graph>` (`GeneratorSpec.key`), in every call.
    """

    async def models(self) -> dict[str, GeneratorSpec]:
        """Contracts of the generators that can be evaluated, by name, the default one first."""
        ...

    async def instances(self, graph: str) -> int:
        """Calls of a graph that are computed at a time."""
        ...

    async def infer(
        self, graph: str, inputs: Mapping[str, NDArray[np.float32]], *, deadline: float | None = None
    ) -> Tensors:
        """Evaluate a graph in one call.

        Args:
            inputs: one array (rows, *shape) for every input in the graph's spec.
            deadline: instant of `time.monotonic` after which the result is of no use.

        Raises:
            InvalidInput: an input is missing, unknown or has the wrong shape, or there are more rows than
                `GraphSpec.max_rows`; the field is its name.
            DeadlineExceeded: the deadline passed first.
            ModelUnavailable: no generator has that graph.
            BackendUnavailable: no server could answer; the call may be repeated later.
            NonFiniteOutput: the model produced NaN or infinity.
        """
        ...

    async def close(self) -> None:
        """Release connections, threads and sessions. The engine cannot be used afterwards."""
        ...

    async def statistics(self) -> dict[str, int]:
        """Rows inferred so far, by graph.

        A Triton server counts its warm-ups, canaries and the requests cancelled in its queue too, and a batch only a
        moment after it has answered it.
        """
        ...


def remaining(deadline: float | None) -> float | None:
    """Seconds until a deadline.

    Raises:
        DeadlineExceeded: it has passed.
    """
    if deadline is None:
        return None
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise DeadlineExceeded("the deadline passed before inference")
    return seconds


def first_line(error: Exception) -> str:
    """The beginning of what an error says, for messages of one line."""
    return (str(error) or type(error).__name__).splitlines()[0][:200]
