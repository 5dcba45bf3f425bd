"""Numbers of a foreign glTF file: accessors of its binary chunk, checked (Khronos, glTF 2.0 specification, 3.6.2)."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from choreo.errors import InvalidInput
from choreo.motion.formats.gltf_file import GltfFile

_DTYPES: Final = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5126: "<f4"}
_SIZES: Final = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}


class Accessors:
    """The accessors of a file; each is looked at once.

    Args:
        file: whose first buffer is its binary chunk.
        field: name of the file in errors.
    """

    def __init__(self, file: GltfFile, field: str) -> None:
        self._file, self._field = file, field
        self._found: dict[int, NDArray[Any]] = {}

    def values(self, number: Any, kind: str) -> NDArray[Any]:
        """(N, 1), (N, 3) or (N, 4) of an accessor, as it is stored.

        Args:
            number: of the accessor, as the file says it.
            kind: SCALAR, VEC3 or VEC4.

        Raises:
            InvalidInput: there is none, it is of another kind, sparse, in another file, or beyond the end.
        """
        if type(number) is not int or number not in self._found:
            accessor = self._entry("accessors", number)
            self._found[number] = self._read(accessor, accessor.get("type"))
        found = self._found[number]
        if found.shape[1] != _SIZES[kind]:
            raise self._damaged(f"accessor {number} is no {kind}")
        return found

    def _read(self, accessor: dict[str, Any], kind: Any) -> NDArray[Any]:
        if "sparse" in accessor or "bufferView" not in accessor:
            raise InvalidInput(self._field, "has sparse accessors, which are not read: export it without them")
        view = self._entry("bufferViews", accessor["bufferView"])
        if view.get("buffer") != 0 or "uri" in self._entry("buffers", 0) or self._file.binary is None:
            raise InvalidInput(self._field, "has its numbers in another file: export it as one binary file")
        if kind not in _SIZES or accessor.get("componentType") not in _DTYPES:
            raise self._damaged(f"an accessor is {str(kind)[:16]} of {str(accessor.get('componentType'))[:16]}")
        dtype, size = np.dtype(_DTYPES[accessor["componentType"]]), _SIZES[kind]
        width = dtype.itemsize * size
        at, count = self._natural(accessor, "byteOffset") + self._natural(view, "byteOffset"), accessor.get("count")
        stride = self._natural(view, "byteStride") or width
        if type(count) is not int or count < 1 or stride < width:
            raise self._damaged("an accessor has no numbers")
        if at + stride * (count - 1) + width > len(self._file.binary):
            raise self._damaged("an accessor ends beyond the data")
        found: NDArray[Any] = np.ndarray((count, size), dtype, self._file.binary, at, (stride, dtype.itemsize))
        return _normalised(found) if dtype.kind in "iu" else found

    def _entry(self, name: str, number: Any) -> dict[str, Any]:
        entries: list[dict[str, Any]] = self._file.document.get(name, [])
        if type(number) is not int or not 0 <= number < len(entries):
            raise self._damaged(f"it names one of its {name} that there is not")
        return entries[number]

    def _natural(self, entry: dict[str, Any], name: str) -> int:
        value = entry.get(name, 0)
        if type(value) is not int or not 0 <= value < 2**40:
            raise self._damaged(f"a {name} is no number of bytes")
        return value

    def _damaged(self, what: str) -> InvalidInput:
        return InvalidInput(self._field, f"is damaged: {what}")


def _normalised(values: NDArray[Any]) -> NDArray[np.float32]:
    """Integers as the numbers of -1 to 1 that they stand for (3.11)."""
    return np.maximum(values.astype(np.float32) / np.float32(np.iinfo(values.dtype).max), np.float32(-1))
