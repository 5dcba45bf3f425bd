"""A simulated engine for measurements of everything but the networks."""

import asyncio
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from bench.scaling import SPEC, SimulatedEngine
from choreo.generators.base import Tensors
from choreo.generators.windowed import DENOISER


class ConditionedEngine(SimulatedEngine):
    """A simulated engine with a conditioner, which takes no time.

    Args:
        batch_s, row_s: cost of a step batch and of each of its rows, seconds.
    """

    def __init__(self, batch_s: float = 0.0, row_s: float = 0.0) -> None:
        super().__init__(batch_s, row_s)

    async def infer(
        self, graph: str, inputs: Mapping[str, NDArray[np.float32]], *, deadline: float | None = None
    ) -> Tensors:
        """Half of x, or zeros."""
        if graph == SPEC.key(DENOISER):
            return await super().infer(graph, inputs, deadline=deadline)
        await asyncio.sleep(0)
        rows, shapes = len(next(iter(inputs.values()))), SPEC.graph(graph.rpartition(".")[2]).output_shapes
        return {name: np.zeros((rows, *shape), np.float32) for name, shape in shapes.items()}
