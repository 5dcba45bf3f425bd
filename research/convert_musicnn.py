"""musicnn's published weights to the files that ship: `python -m research.convert_musicnn FOLDER OUT`.

FOLDER holds `MSD_musicnn` and `MTT_musicnn` of the package musicnn 0.1.0 (weights/musicnn/README.md). Each is a
TensorFlow checkpoint: an index, which is a table of LevelDB without compression, whose values are `BundleEntryProto`
messages, and a file of raw numbers. TensorFlow is not needed.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from choreo.files import atomic_write
from choreo.music.tagging.musicnn import MODELS, SHAPES

Array = NDArray[np.float32]

EPSILON: Final = 1e-3
"""Added to variances by TensorFlow's batch normalisation."""
CONVOLUTIONS: Final = (
    "timbral.38", "timbral.67", "temporal.128", "temporal.64", "temporal.32", "middle.0", "middle.1", "middle.2",
)  # fmt: skip
"""In the order in which TensorFlow numbered them."""
_FLOAT: Final = 1
_FOOTER: Final = 48


def convert() -> None:
    """Write the files."""
    folder, out = map(Path, sys.argv[1:])
    for model in MODELS:
        tensors = dict(checkpoint(folder / f"{model.upper()}_musicnn"))
        arrays = {name: array.reshape(SHAPES[name]) for name, array in layers(tensors).items()}
        halved = {name: array.astype(np.float16) if array.ndim > 1 else array for name, array in arrays.items()}
        atomic_write(out / f"{model}.safetensors", save({k: np.ascontiguousarray(v) for k, v in halved.items()}))


def layers(tensors: dict[str, Array]) -> dict[str, Array]:
    """The arrays by the names that they have here."""
    out = _normalisation(tensors, 0, "input")
    for number, name in enumerate(CONVOLUTIONS):
        out |= _product(tensors, _numbered("conv2d", number), name) | _normalisation(tensors, number + 1, name)
    after = len(CONVOLUTIONS) + 1
    out |= _normalisation(tensors, after, "pooled")
    out |= _product(tensors, "dense", "dense") | _normalisation(tensors, after + 1, "dense")
    return out | _product(tensors, "dense_1", "out")


def checkpoint(folder: Path) -> Iterator[tuple[str, Array]]:
    """Name and values of each tensor of a TensorFlow checkpoint of one part."""
    index, data = (folder / ".index").read_bytes(), (folder / ".data-00000-of-00001").read_bytes()
    footer = index[-_FOOTER:]
    _, at = _handle(footer, 0)
    blocks, _ = _handle(footer, at)
    for _, handle in _entries(index, *blocks):
        for key, value in _entries(index, *_handle(handle, 0)[0]):
            if key:  # the empty key describes the file
                fields = _message(value)
                if fields.get(1) != _FLOAT:
                    continue
                shape = [_message(dim).get(1, 0) for dim in _repeated(fields.get(2, b""), 2)]
                start = fields.get(4, 0)
                yield key.decode(), np.frombuffer(data[start : start + fields[5]], "<f4").reshape(shape)


def _normalisation(tensors: dict[str, Array], number: int, name: str) -> dict[str, Array]:
    """Batch normalisation as a scale and a shift."""
    source = _numbered("batch_normalization", number)
    scale = tensors[f"{source}/gamma"] / np.sqrt(tensors[f"{source}/moving_variance"] + np.float32(EPSILON))
    return {
        f"{name}.scale": scale,
        f"{name}.shift": tensors[f"{source}/beta"] - tensors[f"{source}/moving_mean"] * scale,
    }


def _product(tensors: dict[str, Array], source: str, name: str) -> dict[str, Array]:
    return {f"{name}.weight": tensors[f"{source}/kernel"], f"{name}.bias": tensors[f"{source}/bias"]}


def _numbered(name: str, number: int) -> str:
    return f"{name}_{number}" if number else name


def _entries(table: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a block; keys share their beginnings with the one before."""
    if table[offset + size]:
        raise ValueError("the index is compressed")
    block = table[offset : offset + size]
    end = size - 4 * (1 + int.from_bytes(block[-4:], "little"))
    at, key = 0, b""
    while at < end:
        shared, at = _varint(block, at)
        own, at = _varint(block, at)
        length, at = _varint(block, at)
        key = key[:shared] + block[at : at + own]
        yield key, block[at + own : at + own + length]
        at += own + length


def _handle(data: bytes, at: int) -> tuple[tuple[int, int], int]:
    """Offset and size of a block, and where the next handle begins."""
    offset, at = _varint(data, at)
    size, at = _varint(data, at)
    return (offset, size), at


def _message(data: bytes) -> dict[int, Any]:
    return dict(_fields(data))


def _repeated(data: bytes, number: int) -> list[bytes]:
    return [value for field, value in _fields(data) if field == number]


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """Numbers and values of a protocol buffer's fields: integers, or bytes."""
    value: int | bytes
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == 0:
            value, at = _varint(data, at)
        elif kind == 2:
            length, at = _varint(data, at)
            value, at = data[at : at + length], at + length
        else:  # a checksum of four bytes
            value, at = int.from_bytes(data[at : at + 4], "little"), at + 4
        yield tag >> 3, value


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


if __name__ == "__main__":
    convert()
