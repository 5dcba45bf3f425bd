"""Program files: a network as a flat list of operators over numbered buffers, with weights packed for the kernels.

The layout is that of program_file.h: a header of 64 bytes, the names of the operators, 64-bit words that describe
buffers and operators, and the weights as float32, in the order in which they are used.
"""

import struct
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from choreo.errors import ChoreoError

MAGIC: Final = b"CHOREONP"
VERSION: Final = 2
ABSENT: Final = -1
"""Stands for an optional buffer or optional weights that an operator does without."""
ROW_BLOCK: Final = 6
"""Rows that go through the network together: enough to amortise reading the weights, few enough to stay in cache."""
_ALIGNMENT: Final = 64


class CannotLower(ChoreoError, ValueError):
    """The network has parts that the compiled engine has no operator for."""


class Layout(IntEnum):
    """The layout that a norm writes its output in; see kernels/norm.cpp."""

    PLAIN = 0
    PADDED = 1
    WINOGRAD = 2


Shape = tuple[int, ...]

Scope = Literal["input", "output", "block", "call"]
"""What a buffer belongs to: the caller (input, output), the rows that go through the network together (block), or all
rows of a call."""


@dataclass(frozen=True)
class Buffer:
    """A tensor of `floats` values per row."""

    number: int
    floats: int
    scope: Scope


@dataclass(frozen=True)
class Weights:
    """Constants at an offset, in floats, in the program's weights."""

    offset: int


Parameter = int | float | Buffer | Weights
Operator = tuple[str, tuple[Parameter, ...]]
"""The name under which a kernel is registered, and its parameters in the order of the kernel's constructor."""


@dataclass
class Program:
    """Collects the operators of a network; `encode` writes the file.

    Args:
        lanes: floats per vector of the engine that will run the program.
        inputs: shapes by name, without the batch axis.
        output: name and shape of the only output.
    """

    lanes: int
    inputs: dict[str, Shape]
    output: tuple[str, Shape]
    row_block: int = ROW_BLOCK
    _buffers: list[Buffer] = field(default_factory=list)
    _call: list[Operator] = field(default_factory=list)
    _block: list[Operator] = field(default_factory=list)
    _weights: list[NDArray[np.float32]] = field(default_factory=list)
    _floats: int = 0

    def input(self, name: str) -> Buffer:
        """The input of that name."""
        number = list(self.inputs).index(name)
        return Buffer(number, int(np.prod(self.inputs[name])), "input")

    def result(self) -> Buffer:
        """The output."""
        return Buffer(len(self.inputs), int(np.prod(self.output[1])), "output")

    def buffer(self, floats: int, scope: Scope = "block") -> Buffer:
        """A new intermediate tensor."""
        out = Buffer(len(self.inputs) + 1 + len(self._buffers), floats, scope)
        self._buffers.append(out)
        return out

    def constant(self, values: NDArray[np.floating]) -> Weights:
        """Constants in row-major order."""
        flat = np.ascontiguousarray(values, np.float32).ravel()
        out, unit = Weights(self._floats), _ALIGNMENT // 4
        self._weights.append(np.pad(flat, (0, -len(flat) % unit)))
        self._floats += len(self._weights[-1])
        return out

    def panels(self, matrix: NDArray[np.floating]) -> Weights:
        """A matrix (..., K, N) as panels of (..., K, 2 vectors) columns."""
        return self.constant(packed(matrix, 2 * self.lanes))

    def columns(self, values: NDArray[np.floating]) -> Weights:
        """Values (..., N), padded with zeros to the end of the last panel."""
        fill = [(0, 0)] * (values.ndim - 1) + [(0, -values.shape[-1] % (2 * self.lanes))]
        return self.constant(np.pad(values, fill))

    def emit(self, operator: str, *parameters: Parameter, call: bool = False) -> None:
        """Append an operator.

        Args:
            operator: the name under which its kernel is registered.
            call: runs once for all rows of a call, before the operators that run for each block of rows.
        """
        (self._call if call else self._block).append((operator, parameters))

    def operators(self) -> list[str]:
        """Names of all operators in the order in which they run."""
        return [name for name, _ in (*self._call, *self._block)]

    def encode(self) -> bytes:
        """The content of the program file."""
        names = list(dict.fromkeys(self.operators()))
        table = b"".join(name.encode() + b"\0" for name in names)
        words = self._words(names)
        text = struct.pack(f"<{len(words)}q", *words)
        words_at = _aligned(_ALIGNMENT + len(table))
        weights_at = _aligned(words_at + len(text))
        header = struct.pack(
            "<8sIIqqqqqq", MAGIC, VERSION, self.lanes, words_at, len(words), weights_at, self._floats,
            weights_at + 4 * self._floats, len(table),
        )  # fmt: skip
        weights = np.concatenate(self._weights).astype("<f4").tobytes()
        return (header + table).ljust(words_at, b"\0") + text.ljust(weights_at - words_at, b"\0") + weights

    def _words(self, names: list[str]) -> list[int]:
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
            for name, parameters in operators:
                words += [names.index(name), len(parameters), *(_word(p) for p in parameters)]
        return words

    def _placed(self, scope: str) -> dict[Buffer, int]:
        """Offsets of the buffers of a scope, such that buffers in use at the same time do not overlap."""
        alive: dict[Buffer, tuple[int, int]] = {}
        for at, (_, parameters) in enumerate([*self._call, *self._block]):
            for p in parameters:
                if isinstance(p, Buffer) and p.scope == scope:
                    alive[p] = (alive.get(p, (at, at))[0], at)
        unit, places = _ALIGNMENT // 4, dict[Buffer, int]()
        for buffer in sorted(alive, key=lambda b: (-b.floats, b.number)):
            first, last = alive[buffer]
            # Buffers of a call are written before the first block and read in every block: none of them share memory.
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
    """(..., K, N) -> (panels, ..., K, width): the columns that are computed together are contiguous."""
    columns = matrix.shape[-1]
    full = np.pad(matrix, [(0, 0)] * (matrix.ndim - 1) + [(0, -columns % width)])
    split = full.reshape(*matrix.shape[:-1], -1, width)
    return np.ascontiguousarray(np.moveaxis(split, -2, 0), np.float32)


def _aligned(offset: int) -> int:
    return -(-offset // _ALIGNMENT) * _ALIGNMENT


def _word(parameter: Parameter) -> int:
    if isinstance(parameter, Buffer):
        return parameter.number
    if isinstance(parameter, Weights):
        return parameter.offset
    if isinstance(parameter, float):
        return int(struct.unpack("<q", struct.pack("<d", parameter))[0])
    return int(parameter)
