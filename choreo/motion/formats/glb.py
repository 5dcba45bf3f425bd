"""Motion as a binary glTF 2.0 file: a skinned mannequin per dancer that moves, for browsers, Blender, Unity and Godot.

Metres, y up, facing +z, as glTF prescribes. A dancer is a node with the dancer's name; below it hang 22 joint nodes
with the names of SMPL or of another profile, in the T pose. Its mesh stands next to it: capsules with one bone a
vertex. One animation moves the pelvis and turns all joints, linearly interpolated, with a key a frame from time 0;
quaternions do not change their sign between frames. `extras` of the scene have `fps`, `num_frames`, `dancers` and
`meta`.
"""

from typing import Any

import numpy as np

from choreo.motion.clip import Motion
from choreo.motion.formats.gltf_animation import ASSET, Animation, add_times, joint_nodes, provenance
from choreo.motion.formats.gltf_buffer import ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER, GltfBuffer
from choreo.motion.formats.joint_profiles import SMPL, JointProfile
from choreo.motion.formats.mannequin import Mannequin, mannequin
from choreo.motion.formats.preview import palette
from choreo.motion.performance import Performance
from choreo.motion.skeleton import NUM_JOINTS, PELVIS

SIDES = ("left", "right", "centre")
"""Materials of a dancer, in the order of `Mannequin.triangles` and `Palette`."""


def glb_bytes(dance: Motion | Performance, profile: JointProfile = SMPL) -> bytes:
    """The file's bytes. Motion without rotations is fitted first, so its joints may move by the residual of the fit.

    Args:
        dance: one or more dancers.
        profile: what joint nodes are called.
    """
    performance = Performance.of(dance)
    document = _Document(performance, profile)
    for number, (name, dancer) in enumerate(zip(performance.names, performance.dancers, strict=True)):
        document.add(number, name, dancer)
    return document.glb()


class _Document:
    """The parts of a file, to which dancers are added. All share one mesh and one clock."""

    def __init__(self, performance: Performance, profile: JointProfile) -> None:
        self._performance, self._profile = performance, profile
        self._buffer = GltfBuffer()
        self._body: Mannequin = mannequin()
        self._attributes, self._indices, self._inverse_binds = _add_mesh(self._buffer, self._body)
        self._animation = Animation(self._buffer, add_times(self._buffer, performance))
        self._nodes: list[dict[str, Any]] = []
        self._roots: list[int] = []
        self._meshes: list[dict[str, Any]] = []
        self._materials: list[dict[str, Any]] = []
        self._skins: list[dict[str, Any]] = []

    def add(self, number: int, name: str, dancer: Motion) -> None:
        """A dancer's nodes, mesh, skin and animation."""
        armature = len(self._nodes)
        first = armature + 1
        joints = list(range(first, first + NUM_JOINTS))
        self._nodes.append({"name": name, "children": [first + PELVIS]})
        self._nodes += joint_nodes(first, self._profile)
        self._nodes.append({"name": f"{name}-body", "mesh": number, "skin": number})
        self._roots += [armature, len(self._nodes) - 1]
        self._skins.append(
            {"name": name, "joints": joints, "skeleton": armature, "inverseBindMatrices": self._inverse_binds}
        )
        self._meshes.append({"name": f"{name}-body", "primitives": self._primitives(number, name)})
        self._animation.add(first, dancer)

    def glb(self) -> bytes:
        """The bytes of the whole."""
        return self._buffer.glb(
            {
                "asset": ASSET,
                "scene": 0,
                "scenes": [{"name": "dance", "nodes": self._roots, "extras": provenance(self._performance)}],
                "nodes": self._nodes,
                "meshes": self._meshes,
                "materials": self._materials,
                "skins": self._skins,
                "animations": [self._animation.document("dance")],
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
