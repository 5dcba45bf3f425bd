"""The skeletons of a foreign glTF file: what its extension for VRM animations names, or its skins."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from choreo.errors import InvalidInput
from choreo.motion.formats.bvh_parser import Bvh
from choreo.motion.formats.gltf_nodes import NodeTree, integers
from choreo.motion.formats.joint_profiles import VRM
from choreo.motion.formats.vrma import EXTENSION

MAX_JOINTS: Final = 2048
"""Of one skeleton; hair and clothes have joints, too."""


@dataclass(frozen=True)
class Skeleton:
    """Joints of one character.

    Attributes:
        name: of the skin; empty without one.
        nodes: its J joints, parents before their children.
        names: of the joints.
    """

    name: str
    nodes: tuple[int, ...]
    names: tuple[str, ...]

    def above_and_in(self, tree: NodeTree) -> list[int]:
        """The joints and all nodes above them, parents first."""
        kept: set[int] = set()
        for node in self.nodes:
            while node >= 0 and node not in kept:
                kept.add(node)
                node = tree.parents[node]
        return [node for node in tree.order if node in kept]

    def at_rest(self, tree: NodeTree) -> Bvh:
        """The rest pose with world axes for all joints, for what finds joints by names and by shape."""
        place = {node: i for i, node in enumerate(self.nodes)}
        parents = []
        for node in self.nodes:
            above = tree.parents[node]
            while above >= 0 and above not in place:
                above = tree.parents[above]
            parents.append(place.get(above, -1))
        positions = tree.world[list(self.nodes), :3, 3]
        offsets = positions.copy()
        for joint, parent in enumerate(parents):
            if parent >= 0:
                offsets[joint] -= positions[parent]
        channels = (("Zrotation", "Xrotation", "Yrotation"),) * len(self.nodes)
        return Bvh(self.names, tuple(parents), offsets, channels, np.zeros((1, 3 * len(self.nodes))), 1.0)


def find_skeletons(document: dict[str, Any], tree: NodeTree, field: str) -> tuple[list[Skeleton], bool]:
    """The skeletons of a file, and whether each of its animations is a dance: so in a VRM animation.

    Raises:
        InvalidInput: joints that there are not, or too many.
    """
    humanoid = _humanoid(document, len(tree.names), field)
    if humanoid is not None:
        nodes = tuple(node for node in tree.order if node in humanoid)
        return [Skeleton("", nodes, tuple(humanoid[node] for node in nodes))], True
    skins = document.get("skins", [])
    groups: list[tuple[str, set[int]]] = []
    for skin in skins:
        joints = set(integers(skin.get("joints"), len(tree.names), "joints of a skin", field))
        name = str(skin.get("name") or "")[:64]
        for group in [group for group in groups if group[1] & joints]:
            groups.remove(group)
            name, joints = group[0], joints | group[1]
        groups.append((name, joints))
    if not skins:
        groups.append(("", set(range(len(tree.names)))))
    for _, joints in groups:
        if len(joints) > MAX_JOINTS:
            raise InvalidInput(field, f"has {len(joints)} joints; {MAX_JOINTS} are read")
    return [_skeleton(name, joints, tree) for name, joints in groups], False


def _skeleton(name: str, joints: set[int], tree: NodeTree) -> Skeleton:
    nodes = tuple(node for node in tree.order if node in joints)
    return Skeleton(name, nodes, tuple(tree.names[node] for node in nodes))


def _humanoid(document: dict[str, Any], count: int, field: str) -> dict[int, str] | None:
    """Human bone of each node that the extension names; None without the extension."""
    extensions = document.get("extensions")
    extension = extensions.get(EXTENSION) if isinstance(extensions, dict) else None
    if not isinstance(extension, dict):
        return None
    humanoid = extension.get("humanoid")
    bones = humanoid.get("humanBones") if isinstance(humanoid, dict) else None
    if not isinstance(bones, dict):
        raise InvalidInput(field, f"is damaged: {EXTENSION} names no human bones")
    found: dict[int, str] = {}
    for name in VRM.names:
        if name in bones:
            entry = bones[name]
            node = entry.get("node") if isinstance(entry, dict) else None
            found[integers([node], count, "bones of the humanoid", field)[0]] = name
    return found
