"""The container of a foreign binary glTF 2.0 file, from untrusted bytes (Khronos, glTF 2.0 specification, 4.4).

Only the JSON is looked into. The binary chunk is passed on as it is, with what is added behind it.
"""

import base64
import json
import struct
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import numpy as np
from numpy.typing import NDArray

from choreo.errors import InvalidInput
from choreo.motion.formats.json_format import json_safe

MAX_GLTF_BYTES: Final = 256 * 2**20
"""Largest file that is read."""
MAX_JSON_BYTES: Final = 64 * 2**20
JSON_CHUNK: Final = 0x4E4F534A
BIN_CHUNK: Final = 0x004E4942
_FLOAT: Final = 5126
_TYPES: Final = {1: "SCALAR", 3: "VEC3", 4: "VEC4"}


@dataclass(frozen=True)
class GltfFile:
    """A file as its JSON and its other chunks.

    Attributes:
        document: the JSON; its lists of nodes, skins, animations, buffers, views and accessors are lists of objects.
        binary: the BIN chunk as it is in the file; None without one.
        others: chunks of other kinds, with their kinds.
    """

    document: dict[str, Any]
    binary: bytes | None
    others: tuple[tuple[int, bytes], ...] = ()


def read_gltf(data: bytes, field: str = "rig") -> GltfFile:
    """Take a binary file apart.

    Raises:
        InvalidInput: it is none, is cut off, or exceeds a limit.
    """
    if len(data) > MAX_GLTF_BYTES:
        raise InvalidInput(field, f"is larger than {MAX_GLTF_BYTES // 2**20} MiB")
    if len(data) < 20 or data[:4] != b"glTF":
        raise InvalidInput(field, "is not a binary glTF file: it does not begin with glTF")
    version, size = struct.unpack_from("<II", data, 4)
    if version != 2:
        raise InvalidInput(field, f"is glTF of version {version}; 2 is read")
    if size > len(data):
        raise InvalidInput(field, f"is cut off: it has {len(data)} of {size} bytes")
    chunks = _chunks(data[:size], field)
    if not chunks or chunks[0][0] != JSON_CHUNK:
        raise InvalidInput(field, "is damaged: its first chunk is not JSON")
    binary = chunks[1][1] if len(chunks) > 1 and chunks[1][0] == BIN_CHUNK else None
    others = chunks[1 if binary is None else 2 :]
    return GltfFile(_document(chunks[0][1], field), binary, tuple(others))


def _chunks(data: bytes, field: str) -> list[tuple[int, bytes]]:
    out: list[tuple[int, bytes]] = []
    at = 12
    while at + 8 <= len(data):
        length, kind = struct.unpack_from("<II", data, at)
        if at + 8 + length > len(data):
            raise InvalidInput(field, "is cut off: a chunk is longer than the file")
        out.append((kind, data[at + 8 : at + 8 + length]))
        at += 8 + length
    return out


def _document(text: bytes, field: str) -> dict[str, Any]:
    if len(text) > MAX_JSON_BYTES:
        raise InvalidInput(field, f"has more than {MAX_JSON_BYTES // 2**20} MiB of JSON")

    def refuse(number: str) -> NoReturn:
        raise InvalidInput(field, f"holds {number}, which is no finite number")

    def finite(number: str) -> float:
        value = float(number)
        return value if np.isfinite(value) else refuse(number[:32])

    try:
        document = json.loads(text.decode("utf-8"), parse_constant=refuse, parse_float=finite)
    except InvalidInput:
        raise
    except (ValueError, RecursionError) as error:
        raise InvalidInput(field, "is damaged: its JSON cannot be read") from error
    if not isinstance(document, dict):
        raise InvalidInput(field, "is damaged: its JSON is no object")
    for name in ("nodes", "skins", "animations", "buffers", "bufferViews", "accessors"):
        listed = document.get(name, [])
        if not isinstance(listed, list) or not all(isinstance(entry, dict) for entry in listed):
            raise InvalidInput(field, f"is damaged: its {name} are no list of objects")
    return document


class GltfAddition:
    """What is added to a file: accessors of float32 at the end of its binary data.

    Args:
        file: it is not changed.
    """

    def __init__(self, file: GltfFile) -> None:
        self.document: dict[str, Any] = json.loads(json.dumps(file.document))
        self._file = file
        self._views = self.document.setdefault("bufferViews", [])
        self._accessors = self.document.setdefault("accessors", [])
        self._buffers = self.document.setdefault("buffers", [])
        self._in_binary = bool(self._buffers) and "uri" not in self._buffers[0] and file.binary is not None
        if not self._buffers and file.binary is None:
            self._in_binary = True
            self._buffers.append({"byteLength": 0})
        old = file.binary or b""
        self._start = len(old) + -len(old) % 4 if self._in_binary else 0
        self._number = 0 if self._in_binary else len(self._buffers)
        self._added = bytearray()

    def add(self, values: NDArray[np.float32], *, bounds: bool = False) -> int:
        """Append (N,), (N, 3) or (N, 4) and return the number of the accessor; `bounds`: state least and largest."""
        data = np.ascontiguousarray(values, "<f4").tobytes()
        at = self._start + len(self._added)
        self._views.append({"buffer": self._number, "byteOffset": at, "byteLength": len(data)})
        self._added += data
        accessor: dict[str, Any] = {
            "bufferView": len(self._views) - 1,
            "componentType": _FLOAT,
            "count": len(values),
            "type": _TYPES[values.shape[1] if values.ndim > 1 else 1],
        }
        if bounds:
            low, high = np.atleast_1d(values.min(axis=0)), np.atleast_1d(values.max(axis=0))
            accessor |= {"min": low.tolist(), "max": high.tolist()}
        self._accessors.append(accessor)
        return len(self._accessors) - 1

    def glb(self) -> bytes:
        """The file with what was added."""
        binary = self._file.binary
        if self._in_binary:
            binary = (binary or b"").ljust(self._start, b"\0") + bytes(self._added)
            self._buffers[0]["byteLength"] = len(binary)
        else:  # the first buffer is another file: the new one carries its data in its address
            uri = "data:application/octet-stream;base64," + base64.b64encode(bytes(self._added)).decode()
            self._buffers.append({"byteLength": len(self._added), "uri": uri})
        text = json.dumps(json_safe(self.document), allow_nan=False, separators=(",", ":"), ensure_ascii=False).encode()
        chunks = [(JSON_CHUNK, text + b" " * (-len(text) % 4))]
        if binary is not None:
            chunks.append((BIN_CHUNK, binary + b"\0" * (-len(binary) % 4)))
        body = b"".join(struct.pack("<II", len(part), kind) + part for kind, part in (*chunks, *self._file.others))
        return struct.pack("<4sII", b"glTF", 2, 12 + len(body)) + body
