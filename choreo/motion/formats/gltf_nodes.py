"""The nodes of a foreign glTF file as a checked tree with the transforms of its rest pose."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from choreo.errors import InvalidInput

Array = NDArray[np.float64]

MAX_NODES: Final = 2**16
MAX_NUMBER: Final = 1e7
"""Largest component of a translation or scale."""
UNEVEN: Final = 0.01
"""Largest difference between the scales of a node along its axes, as a share: bones under more would shear."""


@dataclass(frozen=True)
class NodeTree:
    """Nodes in a file's order.

    Attributes:
        names: `node-3` where there is none.
        parents: -1 without one.
        order: all nodes, parents before their children, depth first.
        world: (N, 4, 4) matrices of the rest pose.
        rotations: (N, 3, 3) their rotations.
        uneven: whether a node, or one above it, is scaled differently along its axes, or mirrored.
    """

    names: tuple[str, ...]
    parents: tuple[int, ...]
    order: tuple[int, ...]
    world: Array
    rotations: Array
    uneven: tuple[bool, ...]


def read_nodes(document: dict[str, Any], field: str = "rig") -> NodeTree:
    """The tree of a document's nodes.

    Raises:
        InvalidInput: too many nodes, children that there are not, two parents, a cycle, or transforms that are none.
    """
    nodes = document.get("nodes", [])
    if not 1 <= len(nodes) <= MAX_NODES:
        raise InvalidInput(field, f"has {len(nodes)} nodes; between 1 and {MAX_NODES} are read")
    names = tuple(str(node.get("name") or f"node-{i}")[:256] for i, node in enumerate(nodes))
    parents = _parents(nodes, field)
    order = _depth_first(nodes, parents, field)
    world, rotations = np.empty((len(nodes), 4, 4)), np.empty((len(nodes), 3, 3))
    uneven = [False] * len(nodes)
    for i in order:
        matrix, rotation, odd = _local(nodes[i], names[i], field)
        above = parents[i]
        world[i] = matrix if above < 0 else world[above] @ matrix
        rotations[i] = rotation if above < 0 else rotations[above] @ rotation
        uneven[i] = odd or (above >= 0 and uneven[above])
    if not (np.abs(world) < MAX_NUMBER).all():
        raise InvalidInput(field, f"has nodes farther away than {MAX_NUMBER:g}")
    return NodeTree(names, parents, order, world, rotations, tuple(uneven))


def _parents(nodes: list[dict[str, Any]], field: str) -> tuple[int, ...]:
    parents = [-1] * len(nodes)
    for i, node in enumerate(nodes):
        for child in integers(node.get("children", []), len(nodes), "children of a node", field):
            if parents[child] >= 0:
                raise InvalidInput(field, f"is damaged: node {child} has two parents")
            parents[child] = i
    return tuple(parents)


def integers(values: Any, count: int, what: str, field: str) -> list[int]:
    """A list of indices below `count`.

    Raises:
        InvalidInput: it is none.
    """
    good = isinstance(values, list) and all(type(value) is int and 0 <= value < count for value in values)
    if not good:
        raise InvalidInput(field, f"is damaged: {what} are no list of nodes that there are")
    return list(values)


def _depth_first(nodes: list[dict[str, Any]], parents: tuple[int, ...], field: str) -> tuple[int, ...]:
    order: list[int] = []
    stack = [i for i in reversed(range(len(nodes))) if parents[i] < 0]
    while stack:
        node = stack.pop()
        order.append(node)
        stack += reversed(nodes[node].get("children", []))
    if len(order) < len(nodes):  # each has one parent, so what no root leads to goes in a circle
        lost = min(set(range(len(nodes))) - set(order))
        raise InvalidInput(field, f"is damaged: node {lost} is above itself")
    return tuple(order)


def _local(node: dict[str, Any], name: str, field: str) -> tuple[Array, Array, bool]:
    """Matrix (4, 4), rotation (3, 3), and whether it scales unevenly or mirrors."""
    translation, quaternion, scale = transform_of(node, name, field)
    matrix, rotation = np.eye(4), Rotation.from_quat(quaternion).as_matrix()
    matrix[:3, :3], matrix[:3, 3] = rotation * scale, translation
    odd = scale.min() <= 0 or np.ptp(scale) > UNEVEN * np.abs(scale).max()
    return matrix, rotation, bool(odd)


def transform_of(node: dict[str, Any], name: str, field: str = "rig") -> tuple[Array, Array, Array]:
    """Translation (3,), quaternion (4,) and scale (3,) of a node, also of one with a matrix.

    Raises:
        InvalidInput: they are not finite numbers, or the matrix is no rotation with a scale.
    """
    if "matrix" in node:
        matrix = _numbers(node["matrix"], 16, name, field).reshape(4, 4).T
        scale = np.linalg.norm(matrix[:3, :3], axis=0)
        if scale.min() <= 0:
            raise InvalidInput(field, f"has the node {name[:32]!r}, whose matrix is flat")
        if np.linalg.det(matrix[:3, :3]) < 0:
            scale = scale * (-1, 1, 1)
        axes = matrix[:3, :3] / scale
        if np.abs(axes.T @ axes - np.eye(3)).max() > UNEVEN:
            raise InvalidInput(field, f"has the node {name[:32]!r}, whose matrix is no rotation with a scale")
        return matrix[:3, 3], Rotation.from_matrix(axes).as_quat(), scale
    translation = _numbers(node.get("translation", [0, 0, 0]), 3, name, field)
    quaternion = _numbers(node.get("rotation", [0, 0, 0, 1]), 4, name, field)
    scale = _numbers(node.get("scale", [1, 1, 1]), 3, name, field)
    if not 1e-3 < np.linalg.norm(quaternion) < 1e3:
        raise InvalidInput(field, f"has the node {name[:32]!r}, whose rotation is no unit quaternion")
    return translation, quaternion, scale


def _numbers(values: Any, count: int, name: str, field: str) -> Array:
    good = isinstance(values, list) and len(values) == count
    if not good or not all(type(value) in (int, float) and abs(value) < MAX_NUMBER for value in values):
        raise InvalidInput(field, f"has the node {name[:32]!r}, whose transform is not {count} finite numbers")
    return np.array(values, np.float64)
