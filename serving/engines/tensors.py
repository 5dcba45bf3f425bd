"""Rows of tensors checked against a generator's contract, on their way into a graph and out of it."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from choreo.errors import InvalidArtifact, InvalidInput, NonFiniteOutput
from choreo.generators.spec import ModelSpec
from export.repository import GraphName, graph_inputs, graph_outputs

Tensors = dict[str, NDArray[np.float32]]
"""Arrays by tensor name, (rows, *shape), float32."""


def checked_inputs(spec: ModelSpec, graph: GraphName, inputs: Mapping[str, NDArray[np.float32]]) -> tuple[Tensors, int]:
    """Inputs as contiguous float32 arrays in the graph's order, and their number of rows.

    Raises:
        InvalidInput: an input is missing, unknown or has the wrong shape; the field is its name.
    """
    shapes = graph_inputs(spec, graph)
    for name in inputs.keys() - shapes.keys():
        raise InvalidInput(name, f"is not an input of the {graph}")
    tensors: Tensors = {}
    rows = None
    for name, shape in shapes.items():
        if name not in inputs:
            raise InvalidInput(name, f"the {graph} needs this input")
        values = np.ascontiguousarray(inputs[name], np.float32)
        rows = len(values) if rows is None and values.ndim else rows
        if values.shape != (rows, *shape) or rows == 0:
            raise InvalidInput(name, f"must have shape {(rows or 'rows >= 1', *shape)}, got {values.shape}")
        tensors[name] = values
    return tensors, int(rows or 0)


def checked_outputs(spec: ModelSpec, graph: GraphName, parts: Sequence[Tensors], rows: int) -> Tensors:
    """Outputs of all parts joined.

    Raises:
        InvalidArtifact: they do not have the shapes of the spec.
        NonFiniteOutput: there is NaN or infinity in them.
    """
    out: Tensors = {}
    for name, shape in graph_outputs(spec, graph).items():
        values = parts[0][name] if len(parts) == 1 else np.concatenate([part[name] for part in parts])
        if values.shape != (rows, *shape):
            raise InvalidArtifact(f"the {graph} returned {name!r} of shape {values.shape}, not {(rows, *shape)}")
        if not np.isfinite(values).all():
            raise NonFiniteOutput(f"the {graph} produced NaN or infinity in {name!r}")
        out[name] = values
    return out


def parts_of(rows: int, max_rows: int, instances: int = 1) -> list[range]:
    """Rows in equal pieces of at most `max_rows`, at least one for each of the instances that evaluate at a time."""
    count = min(rows, max(instances, -(-rows // max_rows)))
    bounds = [rows * i // count for i in range(count + 1)]
    return [range(first, end) for first, end in itertools.pairwise(bounds)]


def part(tensors: Tensors, rows: range) -> Tensors:
    """Some rows; views, not copies."""
    return {name: values[rows.start : rows.stop] for name, values in tensors.items()}
