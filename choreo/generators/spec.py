"""What a client must know of a generator: its graphs, their tensors, and how the output becomes motion.

A `GeneratorSpec` is written once, with the checkpoint. It travels with the exported graphs and in the parameters of the
Triton model configurations, so no client hard-codes a shape, a name or a normaliser.
"""

from enum import StrEnum
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator, model_validator

NAME: Final = r"^[a-z0-9][a-z0-9._-]{0,63}$"
"""Pattern of generator names; they are part of file names and of Triton's model names."""
IDENTIFIER: Final = r"^[a-z][a-z0-9_]{0,31}$"
"""Pattern of the names of graphs and tensors."""

Shapes = dict[str, tuple[int, ...]]
"""Shapes by tensor name, without the axis of the rows."""


class Role(StrEnum):
    """Which values a tensor holds; export makes valid random inputs by it."""

    VALUES = "values"
    """Real numbers of about unit variance."""
    MASK = "mask"
    """0 or 1."""
    MASKED = "masked"
    """Real numbers whose last channel is their mask."""
    INDEX = "index"
    """Whole numbers from 0 up to `TensorSpec.limit`, such as timesteps."""


class Null(StrEnum):
    """What the unconditional row of classifier-free guidance gets in a tensor's place."""

    SAME = "same"
    """What the conditional row gets."""
    ZEROS = "zeros"
    ONES = "ones"
    ENCODED = "encoded"
    """What the graph with an output of this name makes of its own null row."""


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class TensorSpec(_Frozen):
    """One float32 tensor of a graph.

    Attributes:
        shape: without the axis of the rows.
        limit: for `Role.INDEX`, the number of values.
    """

    name: str = Field(pattern=IDENTIFIER)
    shape: tuple[int, ...]
    role: Role = Role.VALUES
    null: Null = Null.SAME
    limit: int = Field(1, ge=1)

    @field_validator("shape")
    @classmethod
    def _positive(cls, shape: tuple[int, ...]) -> tuple[int, ...]:
        if not shape or min(shape) < 1:
            raise ValueError("must have one size or more, all positive")
        return shape


class GraphSpec(_Frozen):
    """One graph of a generator, which is evaluated row by row.

    Attributes:
        name: within the generator; Triton's model is called `<generator>.<graph>`.
        max_rows: rows of the largest call.
        per_step: whether it is evaluated at every step of a request rather than a few times. Such graphs are compiled
            and tuned.
        cost: of a row, in units of the generator's per-step graph, for fairness between requests.
    """

    name: str = Field(pattern=IDENTIFIER)
    inputs: tuple[TensorSpec, ...] = Field(min_length=1)
    outputs: tuple[TensorSpec, ...] = Field(min_length=1)
    max_rows: int = Field(32, ge=1, le=1024)
    per_step: bool = True
    cost: float = Field(1.0, gt=0)

    @model_validator(mode="after")
    def _unique(self) -> Self:
        for kind, tensors in (("inputs", self.inputs), ("outputs", self.outputs)):
            names = [tensor.name for tensor in tensors]
            if twice := {name for name in names if names.count(name) > 1}:
                raise ValueError(f"graph {self.name!r} has the {kind} {', '.join(sorted(twice))} more than once")
        return self

    @property
    def input_shapes(self) -> Shapes:
        """Shapes of the inputs, in order."""
        return {tensor.name: tensor.shape for tensor in self.inputs}

    @property
    def output_shapes(self) -> Shapes:
        """Shapes of the outputs, in order."""
        return {tensor.name: tensor.shape for tensor in self.outputs}


class GeneratorSpec(_Frozen):
    """Contract between a generator and everything that uses it.

    Attributes:
        family: name in `choreo.generators.registry`.
        representation: how motion is numbers, see `choreo.motion.representation`.
        window: frames that a row stands for.
        mean, std: (channels,) of the representation; networks see (features - mean) / std.
        music_encoder, text_encoder: names in `choreo.music.encoders` and `choreo.text.encoders`.
        graphs: everything that is evaluated.
        parameters: what only the family itself reads.
        weights_sha256: of the checkpoint's weights that the graphs were exported from; empty before the export.
    """

    name: str = Field(pattern=NAME)
    family: str = Field(pattern=NAME)
    representation: str = "root-velocity-66"
    window: int = Field(196, ge=1)
    fps: int = Field(30, ge=1)
    mean: tuple[float, ...]
    std: tuple[float, ...]
    music_encoder: str = "dsp35"
    music_dim: int = Field(35, ge=1)
    text_encoder: str = "minilm"
    text_dim: int = Field(384, ge=1)
    graphs: tuple[GraphSpec, ...] = Field(min_length=1)
    parameters: dict[str, JsonValue] = {}
    weights_sha256: str = Field("", pattern=r"^([0-9a-f]{64})?$")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(self.mean) != len(self.std) or not self.std or min(self.std) <= 0:
            raise ValueError("mean and std must have one entry per channel, and std must be positive")
        names = [graph.name for graph in self.graphs]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"has the graphs {', '.join(sorted(twice))} more than once")
        return self

    @property
    def channels(self) -> int:
        """Numbers per frame."""
        return len(self.mean)

    def graph(self, name: str) -> GraphSpec:
        """The graph of that name.

        Raises:
            KeyError: there is none.
        """
        for graph in self.graphs:
            if graph.name == name:
                return graph
        raise KeyError(f"{self.name} has no graph {name!r}")

    def key(self, graph: str) -> str:
        """Name of a graph among those of all generators, which is Triton's model name."""
        return f"{self.name}.{graph}"

    def normalize(self, features: NDArray[np.floating]) -> NDArray[np.float32]:
        """Motion features (..., C) to the network's units."""
        return ((features - np.array(self.mean)) / np.array(self.std)).astype(np.float32)

    def denormalize(self, x: NDArray[np.floating]) -> NDArray[np.float64]:
        """Inverse of `normalize`, in float64."""
        return np.asarray(x, np.float64) * np.array(self.std) + np.array(self.mean)
