"""Reading the GLB files of the tests by the specification alone, and playing their animation."""

import json
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation, Slerp

Array = NDArray[np.float64]
DTYPES = {5121: np.uint8, 5123: np.uint16, 5126: np.float32}
SHAPES: dict[str, tuple[int, ...]] = {"SCALAR": (), "VEC3": (3,), "VEC4": (4,), "MAT4": (4, 4)}


class GlbScene:
    """A file as its JSON and its accessors; refuses what breaks the container's rules."""

    def __init__(self, data: bytes) -> None:
        magic, version, size = struct.unpack_from("<4sII", data)
        assert (magic, version, size) == (b"glTF", 2, len(data))
        length, kind = struct.unpack_from("<I4s", data, 12)
        assert kind == b"JSON"
        assert length % 4 == 0
        self.json: dict[str, Any] = json.loads(data[20 : 20 + length])
        size, kind = struct.unpack_from("<I4s", data, 20 + length)
        assert kind == b"BIN\0"
        assert size % 4 == 0
        self.buffer = data[28 + length :]
        assert len(self.buffer) == size == self.json["buffers"][0]["byteLength"]
        self._values: dict[int, NDArray[Any]] = {}
        self.parents = {child: i for i, node in enumerate(self.json["nodes"]) for child in node.get("children", ())}

    def accessor(self, number: int) -> NDArray[Any]:
        """Values of an accessor; matrices have their columns first, as in the file."""
        if number in self._values:
            return self._values[number]
        found = self.json["accessors"][number]
        view = self.json["bufferViews"][found["bufferView"]]
        dtype, shape = np.dtype(DTYPES[found["componentType"]]), SHAPES[found["type"]]
        assert view["byteOffset"] % 4 == 0
        assert view["byteOffset"] + view["byteLength"] <= len(self.buffer)
        assert view["byteLength"] == found["count"] * dtype.itemsize * int(np.prod(shape, dtype=int))
        values = np.frombuffer(self.buffer, dtype, view["byteLength"] // dtype.itemsize, view["byteOffset"])
        values = values.reshape(found["count"], *shape)
        for name, extreme in (("min", values.min(axis=0)), ("max", values.max(axis=0))):
            if name in found:
                np.testing.assert_array_equal(np.float32(found[name]), np.atleast_1d(extreme))
        self._values[number] = values
        return values

    def world(self, time: float | None, animation: int = 0) -> Array:
        """World matrices (N, 4, 4) of all nodes at a time of an animation; None: at rest."""
        nodes = self.json["nodes"]
        local = np.tile(np.eye(4), (len(nodes), 1, 1))
        for i, node in enumerate(nodes):
            if "matrix" in node:
                local[i] = np.reshape(node["matrix"], (4, 4)).T
                continue
            local[i, :3, 3] = node.get("translation", (0, 0, 0))
            turn = Rotation.from_quat(node.get("rotation", (0, 0, 0, 1))).as_matrix()
            local[i, :3, :3] = turn * np.array(node.get("scale", (1, 1, 1)))
        if time is not None:
            self._pose(local, time, self.json["animations"][animation])
        return self._placed(local)

    def _pose(self, local: Array, time: float, animation: dict[str, Any]) -> None:
        for channel in animation["channels"]:
            node, sampler = channel["target"]["node"], animation["samplers"][channel["sampler"]]
            assert "matrix" not in self.json["nodes"][node]
            assert sampler["interpolation"] == "LINEAR"
            keys, values = self.accessor(sampler["input"]).astype(float), self.accessor(sampler["output"]).astype(float)
            if channel["target"]["path"] == "translation":
                local[node, :3, 3] = [np.interp(time, keys, column) for column in values.T]
                continue
            if len(keys) > 1:
                turn = Slerp(keys, Rotation.from_quat(values))(np.clip(time, 0, keys[-1])).as_matrix()
            else:
                turn = Rotation.from_quat(values[0]).as_matrix()
            local[node, :3, :3] = turn * np.array(self.json["nodes"][node].get("scale", (1, 1, 1)))

    def _placed(self, local: Array) -> Array:
        world = np.empty_like(local)
        done: set[int] = set()

        def place(node: int) -> None:
            parent = self.parents.get(node)
            if parent is not None and parent not in done:
                place(parent)
            world[node] = local[node] if parent is None else world[parent] @ local[node]
            done.add(node)

        for i in range(len(local)):
            place(i)
        return world

    def joints(self, time: float | None) -> Array:
        """Positions (S, 22, 3) of the joints of every skin."""
        world = self.world(time)
        return np.stack([world[skin["joints"], :3, 3] for skin in self.json["skins"]])
