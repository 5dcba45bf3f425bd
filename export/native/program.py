"""Program files: a network as a flat list of operators over numbered buffers, and the weights packed for the kernels.

The layout is that of kernels/program.h: a header of 64 bytes, words (64 bit) that describe buffers and operators, and
the weights as float32, in the order in which they are used.
"""

import struct
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from choreo.errors import ChoreoError

MAGIC: Final = b"CHOREONP"
VERSION: Final = 1
ABSENT: Final = -1
"""In the place of a buffer or of weights that an operator does without."""
ROW_BLOCK: Final = 6
"""Rows that go through the network together: enough to pay for the weights, few enough to stay in the cache."""
_ALIGNMENT: Final = 64


class CannotLower(ChoreoError, ValueError):
    """The network is made of something that the engine has no operator for."""


class Kind(IntEnum):
    """Operators as kernels/ know them; their parameters are described there, at the constructors."""

    PRODUCT = 0
    CONVOLUTION = 1
    LEFT_PRODUCT = 2
    NORM_AND_SILU = 3
    LAYER_NORM = 4
    PAD = 5
    SILU = 6
    EMBEDDING = 7
    POOL = 8
    SELF_ATTENTION = 9
    CONDITION = 10
    CROSS_ATTENTION = 11
    HELD = 12
    FOLD = 13
    UNFOLD = 14
    POSTERIOR = 15
    CORRECTED = 16
    ASSEMBLED = 17
    FINISHED = 18


class Layout(IntEnum):
    """Where a norm writes to."""

    PLAIN = 0
    PADDED = 1
    WINOGRAD = 2


Scope = Literal["input", "output", "block", "call"]
"""Who a buffer belongs to: the caller, the rows that go through the network together, or all rows of a call."""


@dataclass(frozen=True)
class Buffer:
    """A tensor: floats per row."""

    number: int
    floats: int
    scope: Scope


@dataclass(frozen=True)
class Weights:
    """Where constants lie in the program, in floats."""

    offset: int


Parameter = int | float | Buffer | Weights
Operator = tuple[Kind, tuple[Parameter, ...]]


@dataclass
class Program:
    """Collects operators; `encode` makes the file. Inputs and the output have names and shapes without the rows."""

    lanes: int
    inputs: dict[str, tuple[int, ...]]
    output: tuple[str, tuple[int, ...]]
    row_block: int = ROW_BLOCK
    _buffers: list[Buffer] = field(default_factory=list)
    _call: list[Operator] = field(default_factory=list)
    _block: list[Operator] = field(default_factory=list)
    _weights: list[NDArray[np.float32]] = field(default_factory=list)
    _floats: int = 0

    def input(self, name: str) -> Buffer:
        """One of the tensors that the caller gives."""
        number = list(self.inputs).index(name)
        return Buffer(number, int(np.prod(self.inputs[name])), "input")

    def result(self) -> Buffer:
        """What the caller gets."""
        return Buffer(len(self.inputs), int(np.prod(self.output[1])), "output")

    def buffer(self, floats: int, scope: Scope = "block") -> Buffer:
        """A new tensor."""
        out = Buffer(len(self.inputs) + 1 + len(self._buffers), floats, scope)
        self._buffers.append(out)
        return out

    def constant(self, values: NDArray[np.floating]) -> Weights:
        """Constants as they are."""
        flat = np.ascontiguousarray(values, np.float32).ravel()
        out, unit = Weights(self._floats), _ALIGNMENT // 4
        self._weights.append(np.pad(flat, (0, -len(flat) % unit)))
        self._floats += len(self._weights[-1])
        return out

    def panels(self, matrix: NDArray[np.floating]) -> Weights:
        """A matrix (..., K, N) as panels of (..., K, 2 vectors) columns."""
        return self.constant(packed(matrix, 2 * self.lanes))

    def columns(self, values: NDArray[np.floating]) -> Weights:
        """Values (..., N) with columns up to the end of the last panel."""
        fill = [(0, 0)] * (values.ndim - 1) + [(0, -values.shape[-1] % (2 * self.lanes))]
        return self.constant(np.pad(values, fill))

    def emit(self, kind: Kind, *parameters: Parameter, call: bool = False) -> None:
        """Append an operator, to those of all rows of a call or to those of a block."""
        (self._call if call else self._block).append((kind, parameters))

    def operators(self) -> list[str]:
        """Kinds of all operators, in the order in which they run."""
        return [kind.name.lower() for kind, _ in (*self._call, *self._block)]

    def encode(self) -> bytes:
        """The file."""
        places = {b.number: place for scope in ("call", "block") for b, place in self._placed(scope).items()}
        sizes = [
            max((places[b.number] + b.floats for b in self._buffers if b.scope == scope), default=0)
            for scope in ("block", "call")
        ]
        words: list[int] = [len(self.inputs), *(self.input(name).floats for name in self.inputs)]
        words += [self.result().floats, *sizes, self.row_block, len(self._buffers)]
        for buffer in self._buffers:
            words += [int(buffer.scope == "call"), buffer.floats, places[buffer.number]]
        for operators in (self._call, self._block):
            words.append(len(operators))
            for kind, parameters in operators:
                words += [kind, len(parameters), *(_word(p) for p in parameters)]
        text = struct.pack(f"<{len(words)}q", *words)
        words_at = _ALIGNMENT
        weights_at = -(-(words_at + len(text)) // _ALIGNMENT) * _ALIGNMENT
        header = struct.pack(
            "<8sIIqqqqqq", MAGIC, VERSION, self.lanes, words_at, len(words), weights_at, self._floats,
            weights_at + 4 * self._floats, 0,
        )  # fmt: skip
        weights = np.concatenate(self._weights).astype("<f4").tobytes()
        return header + text + bytes(weights_at - words_at - len(text)) + weights

    def _placed(self, scope: str) -> dict[Buffer, int]:
        """Offsets of buffers, such that those that are in use at the same time do not overlap."""
        alive: dict[Buffer, tuple[int, int]] = {}
        for at, (_, parameters) in enumerate([*self._call, *self._block]):
            for p in parameters:
                if isinstance(p, Buffer) and p.scope == scope:
                    alive[p] = (alive.get(p, (at, at))[0], at)
        unit, places = _ALIGNMENT // 4, dict[Buffer, int]()
        for buffer in sorted(alive, key=lambda b: (-b.floats, b.number)):
            first, last = alive[buffer]
            # All rows of a call are worked on before the first block and read in every block.
            taken = sorted(
                (place, place + -(-other.floats // unit) * unit)
                for other, place in places.items()
                if scope == "call" or (alive[other][0] <= last and first <= alive[other][1])
            )
            place = 0
            for begin, end in taken:
                if place + buffer.floats <= begin:
                    break
                place = max(place, end)
            places[buffer] = place
        return places


def packed(matrix: NDArray[np.floating], width: int) -> NDArray[np.float32]:
    """(..., K, N) -> (panels, ..., K, width): columns next to each other that are worked on together."""
    columns = matrix.shape[-1]
    full = np.pad(matrix, [(0, 0)] * (matrix.ndim - 1) + [(0, -columns % width)])
    split = full.reshape(*matrix.shape[:-1], -1, width)
    return np.ascontiguousarray(np.moveaxis(split, -2, 0), np.float32)


def _word(parameter: Parameter) -> int:
    if isinstance(parameter, Buffer):
        return parameter.number
    if isinstance(parameter, Weights):
        return parameter.offset
    if isinstance(parameter, float):
        return int(struct.unpack("<q", struct.pack("<d", parameter))[0])
    return int(parameter)
