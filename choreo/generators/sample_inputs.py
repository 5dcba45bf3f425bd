"""Random inputs of a graph, to trace, to compare and to measure it with."""

import numpy as np
from numpy.typing import NDArray

from choreo.generators.spec import GraphSpec, Role


def sample_inputs(graph: GraphSpec, rows: int, seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """Random but valid inputs of a graph, by the roles of its tensors."""
    rng = np.random.default_rng(seed)
    out = {}
    for tensor in graph.inputs:
        shape = (rows, *tensor.shape)
        match tensor.role:
            case Role.MASK:
                values = (rng.random(shape) < 0.8).astype(np.float64)
            case Role.INDEX:
                values = rng.integers(0, tensor.limit, shape).astype(np.float64)
            case _:
                values = rng.normal(size=shape)
        if tensor.role is Role.MASKED:
            values[..., -1] = rng.random(shape[:-1]) < 0.5
        out[tensor.name] = values.astype(np.float32)
    return out
