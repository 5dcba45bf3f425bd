"""A character in a binary glTF file (.glb, .vrm), and the same file with a dance in it.

Joints are the nodes of the largest skin, of skins that share joints with it, and all above them; in a file without
skins, all nodes. VRM says itself which node is which part of the body (VRMC_vrm 1.0 and VRM 0.x, `humanBones`).

Meshes, skins, materials, images and older animations stay byte for byte; one animation a dancer is added.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from choreo.errors import InvalidInput
from choreo.motion.formats.gltf_animation import quaternions
from choreo.motion.formats.gltf_file import GltfAddition, GltfFile, read_gltf
from choreo.motion.formats.gltf_nodes import NodeTree, integers, read_nodes, transform_of
from choreo.motion.formats.joint_profiles import VRM
from choreo.motion.skeleton import JOINT_NAMES
from choreo.rigs.rig import MAX_RIG_JOINTS, Rig, RigMotion

_SPINE: Final = ("spine", "chest", "upperChest")
_NAMES: Final = {
    vrm: ours for vrm, ours in zip(VRM.names, JOINT_NAMES, strict=True) if vrm not in _SPINE
}  # spine1 to spine3 are told apart by their place


class GlbRig:
    """A character as it was read.

    Args:
        data: the file.
        field: name of the file in errors.

    Attributes:
        rig: its joints.
        notes: what else there is in the file that matters for playing it.

    Raises:
        InvalidInput: not such a file, damaged, or beyond a limit.
    """

    def __init__(self, data: bytes, field: str = "rig") -> None:
        self._file: GltfFile = read_gltf(data, field)
        document = self._file.document
        tree = read_nodes(document, field)
        humanoid = _humanoid(document, len(tree.names), field)
        chosen = _joint_nodes(document, tree, field) | set(humanoid.values())
        self._tree = tree
        kept = _with_ancestors(chosen, tree)
        self._nodes = tuple(node for node in tree.order if node in kept)
        if len(self._nodes) > MAX_RIG_JOINTS:
            raise InvalidInput(field, f"has {len(self._nodes)} joints; {MAX_RIG_JOINTS} are read")
        self.rig = _rig(tree, self._nodes, humanoid, field)
        animations = len(document.get("animations", []))
        self.notes = (f"has {animations} animations already; the dance is the last",) if animations else ()

    def animated(self, dances: dict[str, RigMotion], fps: float, extras: dict[str, Any]) -> bytes:
        """The file with one animation a dance, of these names; key k is at k / fps seconds."""
        added = GltfAddition(self._file)
        animations = added.document.setdefault("animations", [])
        frames = len(next(iter(dances.values())).path)
        times = added.add((np.arange(frames) / fps).astype(np.float32), bounds=True)
        for name, dance in dances.items():
            animations.append({"name": name, **self._animation(added, dance, times), "extras": extras})
        return added.glb()

    def _animation(self, added: GltfAddition, dance: RigMotion, times: int) -> dict[str, Any]:
        channels: list[dict[str, Any]] = []
        samplers: list[dict[str, Any]] = []

        def channel(node: int, path: str, values: NDArray[np.float32]) -> None:
            _without_matrix(added.document["nodes"][node], self._tree.names[node])
            channels.append({"sampler": len(samplers), "target": {"node": node, "path": path}})
            samplers.append({"input": times, "output": added.add(values), "interpolation": "LINEAR"})

        root = self._nodes[dance.root]
        above = self._tree.parents[root]
        inverse = np.eye(4) if above < 0 else np.linalg.inv(self._tree.world[above])
        channel(root, "translation", (dance.path @ inverse[:3, :3].T + inverse[:3, 3]).astype(np.float32))
        turns = quaternions(dance.local).astype(np.float32)
        for place, joint in enumerate(dance.joints):
            channel(self._nodes[joint], "rotation", turns[:, place])
        return {"channels": channels, "samplers": samplers}


def _rig(tree: NodeTree, nodes: tuple[int, ...], humanoid: dict[str, int], field: str) -> Rig:
    carrying = {tree.parents[node] for node in nodes}
    for node in nodes:
        if tree.uneven[node] and node in carrying:
            raise InvalidInput(
                field, f"has the joint {tree.names[node][:32]!r} with an uneven or mirrored scale: apply it first"
            )
    place = {node: i for i, node in enumerate(nodes)}
    parents = tuple(place.get(tree.parents[node], -1) for node in nodes)
    chosen = list(nodes)
    return Rig(
        tuple(tree.names[node] for node in nodes),
        parents,
        tree.world[chosen, :3, 3],
        tree.rotations[chosen],
        {_NAMES[bone]: place[node] for bone, node in humanoid.items() if bone in _NAMES},
        tuple(place[humanoid[bone]] for bone in _SPINE if bone in humanoid),
    )


def _joint_nodes(document: dict[str, Any], tree: NodeTree, field: str) -> set[int]:
    count = len(tree.names)
    skins = [set(integers(skin.get("joints"), count, "joints of a skin", field)) for skin in document.get("skins", [])]
    if not skins:
        return set(range(count))
    chosen = max(skins, key=len)
    before = -1
    while len(chosen) != before:
        before = len(chosen)
        chosen = chosen.union(*(skin for skin in skins if skin & chosen))
    return chosen


def _with_ancestors(nodes: set[int], tree: NodeTree) -> set[int]:
    out: set[int] = set()
    for node in nodes:
        while node >= 0 and node not in out:
            out.add(node)
            node = tree.parents[node]
    return out


def _humanoid(document: dict[str, Any], count: int, field: str) -> dict[str, int]:
    """Node of each bone that a VRM extension names: an object in version 1, a list in version 0."""
    extensions = document.get("extensions")
    found: dict[str, int] = {}
    for name in ("VRMC_vrm", "VRM"):
        bones = _member(_member(_member(extensions, name), "humanoid"), "humanBones")
        listed = bones.items() if isinstance(bones, dict) else []
        if isinstance(bones, list):
            listed = [(_member(bone, "bone"), bone) for bone in bones]
        for bone, entry in listed:
            if isinstance(bone, str) and bone in VRM.names and bone not in found:
                found[bone] = integers([_member(entry, "node")], count, "bones of the humanoid", field)[0]
    return found


def _member(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _without_matrix(node: dict[str, Any], name: str) -> None:
    """A node that is animated must not have a matrix (glTF 2.0, 3.5.2)."""
    if "matrix" in node:
        translation, quaternion, scale = transform_of(node, name)
        del node["matrix"]
        node |= {"translation": translation.tolist(), "rotation": quaternion.tolist(), "scale": scale.tolist()}
