"""Motion as a binary glTF 2.0 file: a skinned mannequin per dancer that moves, for browsers, Blender, Unity and Godot.

Metres, y up, facing +z, as glTF prescribes. A dancer is a node with the dancer's name; below it hang 22 joint nodes
with the names of SMPL or of another profile, in the T pose. Its mesh stands next to it: capsules with one bone a
vertex. One animation moves the pelvis and turns all joints, linearly interpolated, with a key a frame from time 0;
quaternions do not change their sign between frames. `extras` of the scene have `fps`, `num_frames`, `dancers` and
`meta`.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from choreo.motion.clip import Motion
from choreo.motion.formats.gltf_buffer import ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER, GltfBuffer
from choreo.motion.formats.joint_profiles import SMPL, JointProfile
from choreo.motion.formats.mannequin import Mannequin, mannequin
from choreo.motion.formats.preview import palette
from choreo.motion.performance import Performance
from choreo.motion.rigid_pose import rigid_pose
from choreo.motion.skeleton import NUM_JOINTS, PELVIS, REST_OFFSETS, children

SIDES = ("left", "right", "centre")
"""Materials of a dancer, in the order of `Mannequin.triangles` and `Palette`."""


def glb_bytes(dance: Motion | Performance, profile: JointProfile = SMPL) -> bytes:
    """The file's bytes. Motion without rotations is fitted first, so its joints may move by the residual of the fit.

    Args:
        dance: one or more dancers.
        profile: what joint nodes are called.
    """
    performance = Performance.of(dance)
    document = _Document(profile)
    for number, (name, dancer) in enumerate(zip(performance.names, performance.dancers, strict=True)):
        document.add(number, name, dancer)
    return document.glb(performance)


class _Document:
    """The parts of a file, to which dancers are added. All share one mesh and one clock."""

    def __init__(self, profile: JointProfile) -> None:
        self._names = [f"{profile.namespace}{joint}" for joint in profile.names]
        self._buffer = GltfBuffer()
        self._body: Mannequin = mannequin()
        self._attributes, self._indices, self._inverse_binds = _add_mesh(self._buffer, self._body)
        self._times: int | None = None
        self._nodes: list[dict[str, Any]] = []
        self._roots: list[int] = []
        self._meshes: list[dict[str, Any]] = []
        self._materials: list[dict[str, Any]] = []
        self._skins: list[dict[str, Any]] = []
        self._channels: list[dict[str, Any]] = []
        self._samplers: list[dict[str, Any]] = []

    def add(self, number: int, name: str, dancer: Motion) -> None:
        """A dancer's nodes, mesh, skin and animation."""
        armature = len(self._nodes)
        first = armature + 1
        joints = list(range(first, first + NUM_JOINTS))
        self._nodes.append({"name": name, "children": [first + PELVIS]})
        for joint in range(NUM_JOINTS):
            offset = self._body.joints[PELVIS] if joint == PELVIS else REST_OFFSETS[joint]
            below = [first + child for child in children(joint)]
            node = {"name": self._names[joint], "translation": offset.tolist()}
            self._nodes.append(node | ({"children": below} if below else {}))
        self._nodes.append({"name": f"{name}-body", "mesh": number, "skin": number})
        self._roots += [armature, len(self._nodes) - 1]
        self._skins.append(
            {"name": name, "joints": joints, "skeleton": armature, "inverseBindMatrices": self._inverse_binds}
        )
        self._meshes.append({"name": f"{name}-body", "primitives": self._primitives(number, name)})
        self._animate(first, dancer)

    def glb(self, performance: Performance) -> bytes:
        """The bytes of the whole."""
        meta = performance.meta
        extras: dict[str, Any] = {
            "fps": performance.fps,
            "num_frames": performance.num_frames,
            "dancers": list(performance.names),
            "meta": meta,
        }
        extras |= {name: meta[name] for name in ("seed", "model", "tempo", "beats") if name in meta}
        return self._buffer.glb(
            {
                "asset": {"version": "2.0", "generator": "choreo"},
                "scene": 0,
                "scenes": [{"name": "dance", "nodes": self._roots, "extras": extras}],
                "nodes": self._nodes,
                "meshes": self._meshes,
                "materials": self._materials,
                "skins": self._skins,
                "animations": [{"name": "dance", "channels": self._channels, "samplers": self._samplers}],
            }
        )

    def _primitives(self, number: int, name: str) -> list[dict[str, Any]]:
        primitives = []
        for side, colour, indices in zip(SIDES, palette(number), self._indices, strict=True):
            surface = {"baseColorFactor": [*_linear(colour), 1.0], "metallicFactor": 0.0, "roughnessFactor": 0.6}
            self._materials.append({"name": f"{name}-{side}", "pbrMetallicRoughness": surface})
            material = len(self._materials) - 1
            primitives.append({"attributes": self._attributes, "indices": indices, "material": material})
        return primitives

    def _animate(self, first: int, dancer: Motion) -> None:
        if self._times is None:
            times = np.arange(dancer.num_frames) / dancer.fps
            self._times = self._buffer.add(times.astype(np.float32), bounds=True)
        root, local = rigid_pose(dancer)
        turns = quaternions(local).astype(np.float32)
        self._channel(first + PELVIS, "translation", root.astype(np.float32))
        for joint in range(NUM_JOINTS):
            self._channel(first + joint, "rotation", turns[:, joint])

    def _channel(self, node: int, path: str, values: NDArray[np.float32]) -> None:
        sampler = {"input": self._times, "output": self._buffer.add(values), "interpolation": "LINEAR"}
        self._channels.append({"sampler": len(self._samplers), "target": {"node": node, "path": path}})
        self._samplers.append(sampler)


def quaternions(rotations: NDArray[np.floating]) -> NDArray[np.float64]:
    """Unit quaternions (T, J, 4), x y z w, of rotations (T, J, 3, 3), without changes of sign between frames."""
    shape = rotations.shape[:-2]
    found = Rotation.from_matrix(np.asarray(rotations, np.float64).reshape(-1, 3, 3)).as_quat().reshape(*shape, 4)
    found *= np.where(found[:1, :, 3:] < 0, -1.0, 1.0)
    flips = np.where((found[1:] * found[:-1]).sum(axis=-1) < 0, -1.0, 1.0)
    found[1:] *= np.cumprod(flips, axis=0)[..., None]
    return np.asarray(found, np.float64)


def _add_mesh(buffer: GltfBuffer, body: Mannequin) -> tuple[dict[str, int], list[int], int]:
    """Accessors of the attributes of vertices, of the indices of each side, and of the inverse bind matrices."""
    joints = np.zeros((len(body.bones), 4), np.uint8)
    joints[:, 0] = body.bones
    weights = np.zeros((len(body.bones), 4), np.float32)
    weights[:, 0] = 1
    attributes = {
        "POSITION": buffer.add(body.vertices.astype(np.float32), bounds=True, target=ARRAY_BUFFER),
        "NORMAL": buffer.add(body.normals.astype(np.float32), target=ARRAY_BUFFER),
        "JOINTS_0": buffer.add(joints, target=ARRAY_BUFFER),
        "WEIGHTS_0": buffer.add(weights, target=ARRAY_BUFFER),
    }
    indices = [buffer.add(faces.reshape(-1), target=ELEMENT_ARRAY_BUFFER) for faces in body.triangles]
    inverse = np.tile(np.eye(4, dtype=np.float32), (NUM_JOINTS, 1, 1))
    inverse[:, 3, :3] = -body.joints  # columns first: the last column of each matrix is its last row here
    return attributes, indices, buffer.add(inverse)


def _linear(colour: tuple[int, int, int]) -> list[float]:
    """Linear components of an sRGB colour (IEC 61966-2-1), as materials have them."""
    s = np.array(colour) / 255
    return np.round(np.where(s <= 0.04045, s / 12.92, ((s + 0.055) / 1.055) ** 2.4), 5).tolist()
