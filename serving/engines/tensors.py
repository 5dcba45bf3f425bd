"""Rows of tensors checked against a graph's contract, on their way into the graph and out of it."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from choreo.errors import InvalidArtifact, InvalidInput, NonFiniteOutput
from choreo.generators.base import Tensors
from choreo.generators.spec import GraphSpec


def checked_inputs(graph: GraphSpec, inputs: Mapping[str, NDArray[np.float32]]) -> tuple[Tensors, int]:
    """Inputs as contiguous float32 arrays in the graph's order, and their number of rows.

    Raises:
        InvalidInput: an input is missing, unknown or has the wrong shape, or there are too many rows; the field is the
            input's name.
    """
    shapes = graph.input_shapes
    for name in inputs.keys() - shapes.keys():
        raise InvalidInput(name, f"is not an input of the {graph.name}")
    tensors: Tensors = {}
    rows: int | None = None
    for name, shape in shapes.items():
        if name not in inputs:
            raise InvalidInput(name, f"the {graph.name} needs this input")
        values = np.ascontiguousarray(inputs[name], np.float32)
        rows = len(values) if rows is None and values.ndim else rows
        if values.shape != (rows, *shape) or rows == 0:
            raise InvalidInput(name, f"must have shape {(rows or 'rows >= 1', *shape)}, got {values.shape}")
        if len(values) > graph.max_rows:
            raise InvalidInput(name, f"has {rows} rows, and the {graph.name} takes {graph.max_rows} in a call")
        tensors[name] = values
    return tensors, int(rows or 0)


def checked_outputs(graph: GraphSpec, outputs: Mapping[str, NDArray[np.float32]], rows: int) -> Tensors:
    """Outputs with the shapes of the spec.

    Raises:
        InvalidArtifact: they have others.
        NonFiniteOutput: there is NaN or infinity in them.
    """
    out: Tensors = {}
    for name, shape in graph.output_shapes.items():
        values = outputs[name]
        if values.shape != (rows, *shape):
            raise InvalidArtifact(f"the {graph.name} returned {name!r} of shape {values.shape}, not {(rows, *shape)}")
        if not np.isfinite(values).all():
            raise NonFiniteOutput(f"the {graph.name} produced NaN or infinity in {name!r}")
        out[name] = values
    return out
