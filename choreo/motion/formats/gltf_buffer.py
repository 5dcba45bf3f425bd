"""The container and the binary buffer of a glTF 2.0 file (Khronos, glTF 2.0 specification, chapters 3.6 and 4.4)."""

import json
import struct
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from choreo.motion.formats.json_format import json_safe

ARRAY_BUFFER: Final = 34962
ELEMENT_ARRAY_BUFFER: Final = 34963
_COMPONENTS: Final = {"float32": 5126, "uint8": 5121, "uint16": 5123}
_SHAPES: Final = {(): "SCALAR", (3,): "VEC3", (4,): "VEC4", (4, 4): "MAT4"}


class GltfBuffer:
    """The one buffer of a file, its views and its accessors, one view an accessor, each on a multiple of 4 bytes."""

    def __init__(self) -> None:
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []
        self._chunks: list[bytes] = []
        self._size = 0

    def add(self, values: NDArray[Any], *, bounds: bool = False, target: int | None = None) -> int:
        """Append an accessor and return its number.

        Args:
            values: (N,), (N, 3), (N, 4) or (N, 4, 4), the last with columns first, of float32, uint8 or uint16.
            bounds: whether minimum and maximum are stated, which positions and times must have.
            target: ARRAY_BUFFER for attributes of vertices, ELEMENT_ARRAY_BUFFER for indices.
        """
        data = np.ascontiguousarray(values).tobytes()
        view = {"buffer": 0, "byteOffset": self._size, "byteLength": len(data)}
        self.views.append(view | ({} if target is None else {"target": target}))
        padded = data + b"\0" * (-len(data) % 4)
        self._chunks.append(padded)
        self._size += len(padded)
        accessor: dict[str, Any] = {
            "bufferView": len(self.views) - 1,
            "componentType": _COMPONENTS[values.dtype.name],
            "count": len(values),
            "type": _SHAPES[values.shape[1:]],
        }
        if bounds:
            low, high = values.min(axis=0), values.max(axis=0)
            accessor |= {"min": np.atleast_1d(low).tolist(), "max": np.atleast_1d(high).tolist()}
        self.accessors.append(accessor)
        return len(self.accessors) - 1

    def glb(self, document: dict[str, Any]) -> bytes:
        """The file: header, JSON chunk padded with spaces, and binary chunk."""
        whole = document | {
            "bufferViews": self.views,
            "accessors": self.accessors,
            "buffers": [{"byteLength": self._size}],
        }
        text = json.dumps(json_safe(whole), allow_nan=False, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 4)
        size = 12 + 8 + len(text) + 8 + self._size
        header = struct.pack("<4sII", b"glTF", 2, size)
        chunks = struct.pack("<I4s", len(text), b"JSON"), text, struct.pack("<I4s", self._size, b"BIN\0")
        return b"".join([header, *chunks, *self._chunks])
