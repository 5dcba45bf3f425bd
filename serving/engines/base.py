"""What an engine is: it evaluates the two graphs of a generator, in this process or on Triton servers."""

import time
from collections.abc import Mapping
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from choreo.errors import DeadlineExceeded
from choreo.generators.spec import ModelSpec
from export.repository import GraphName
from serving.engines.tensors import Tensors

PAIR: Final = 2
"""Rows of a lone window with guidance. Nobody else keeps the cores busy then, so an engine evaluates them beside each
other even where they come as one whole call: two calls would cost twice the way there and back, at every step."""


class Engine(Protocol):
    """Evaluates graphs row by row; rows of one call are independent of each other."""

    async def specs(self) -> dict[str, ModelSpec]:
        """Contracts of the generators served, by their names."""
        ...

    async def instances(self) -> int:
        """Evaluations of the denoiser that run beside each other."""
        ...

    async def infer(
        self,
        graph: GraphName,
        inputs: Mapping[str, NDArray[np.float32]],
        *,
        deadline: float | None = None,
        whole: bool = False,
    ) -> Tensors:
        """Evaluate a graph on any number of rows.

        Args:
            graph: which of the two graphs.
            inputs: one array (rows, *shape) for every input in the spec.
            deadline: instant of `time.monotonic` after which the result is of no use.
            whole: not shared out among the instances, because the caller keeps them busy with several calls; but for
                `PAIR` rows.

        Raises:
            InvalidInput: an input is missing, unknown or has the wrong shape; the field is its name.
            DeadlineExceeded: the deadline passed first.
            BackendUnavailable: no server could answer; the call may be repeated later.
            NonFiniteOutput: the model produced NaN or infinity.
        """
        ...

    async def close(self) -> None:
        """Release connections, threads and sessions. The engine cannot be used afterwards."""
        ...

    async def statistics(self) -> dict[str, int]:
        """Rows inferred per graph so far.

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
