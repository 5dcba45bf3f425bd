"""Characters that the tests make: human skeletons of given names, proportions, rest poses and joint axes, as files."""

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from choreo.motion.clip import Motion
from choreo.motion.kinematics import forward_kinematics
from choreo.motion.skeleton import JOINT_NAMES, PARENTS, REST_OFFSETS
from choreo.postprocess.finish import finish

Array = NDArray[np.float64]

ARM_JOINTS = {side: [f"{side}_{part}" for part in ("shoulder", "elbow", "wrist")] for side in ("left", "right")}
LEG_JOINTS = {side: [f"{side}_{part}" for part in ("hip", "knee", "ankle")] for side in ("left", "right")}


@dataclass(frozen=True)
class Shape:
    """How a character differs from the canonical skeleton.

    Attributes:
        size: factor of everything.
        thigh, shin, arm, hips, shoulders: factors of lengths and widths.
        arms_down: degrees by which the arms are lowered from the T pose.
        legs_apart: degrees by which each leg is spread.
        ankle: height of the ankle over the floor, metres before `size`.
    """

    size: float = 1.0
    thigh: float = 1.0
    shin: float = 1.0
    arm: float = 1.0
    hips: float = 1.0
    shoulders: float = 1.0
    arms_down: float = 0.0
    legs_apart: float = 0.0
    ankle: float = 0.08

    def positions(self) -> Array:
        """(22, 3) metres, y up, facing +z, standing on y = 0."""
        offsets = REST_OFFSETS.copy()
        for j, name in enumerate(JOINT_NAMES):
            side, _, part = name.partition("_")
            sign = {"left": 1, "right": -1}.get(side, 0)
            if part in ("knee", "ankle"):
                turn = Rotation.from_euler("z", sign * self.legs_apart, degrees=True)
                offsets[j] = turn.apply(offsets[j] * (self.thigh if part == "knee" else self.shin))
            elif part in ("elbow", "wrist"):
                offsets[j] = Rotation.from_euler("z", -sign * self.arms_down, degrees=True).apply(offsets[j] * self.arm)
            elif part == "hip":
                offsets[j, 0] *= self.hips
            elif part in ("collar", "shoulder"):
                offsets[j, 0] *= self.shoulders
            elif part == "foot":
                offsets[j, 1] = 0.02 - self.ankle
        out = np.zeros((len(offsets), 3))
        for j, parent in enumerate(PARENTS):
            out[j] = offsets[j] + (out[parent] if parent >= 0 else 0)
        out[:, 1] += self.ankle - out[7, 1]
        return out * self.size


@dataclass(frozen=True)
class Skeleton:
    """Joints by name, depth first: parents and places in metres."""

    names: list[str]
    parents: list[int]
    positions: Array
    index: Mapping[str, int] = field(default_factory=dict)


def skeleton(
    shape: Shape, names: Mapping[str, str], extras: Sequence[tuple[str, str, tuple[float, float, float]]] = ()
) -> Skeleton:
    """The 22 joints, or those of them that have a name, and others as (name, part it hangs on, offset in metres)."""
    places = shape.positions()
    kids: dict[int, list[int]] = {}
    for j, parent in enumerate(PARENTS):
        while parent >= 0 and JOINT_NAMES[parent] not in names:
            parent = PARENTS[parent]
        if JOINT_NAMES[j] in names:
            kids.setdefault(parent, []).append(j)
    out = Skeleton([], [], np.empty((0, 3)), {})
    rows: list[Array] = []
    index: dict[str, int] = {}

    def visit(joint: int, parent: int) -> None:
        part = JOINT_NAMES[joint]
        index[part] = here = len(out.names)
        out.names.append(names[part])
        out.parents.append(parent)
        rows.append(places[joint])
        for child in kids.get(joint, []):
            visit(child, here)
        for name, owner, offset in extras:
            if owner == part:
                out.names.append(name)
                out.parents.append(here)
                rows.append(places[joint] + shape.size * np.array(offset))

    visit(0, -1)
    return Skeleton(out.names, out.parents, np.stack(rows), index)


def glb_rig(
    made: Skeleton,
    *,
    axes_seed: int | None = 1,
    armature: tuple[Sequence[float], float] = ((0, 0, 0, 1), 1.0),
    turned: float = 0.0,
    matrices: bool = False,
    more: Mapping[str, Any] | None = None,
) -> bytes:
    """A file with a skinned mesh, a material and an image.

    Args:
        made: the joints.
        axes_seed: of the joints' own axes; None: those of the world.
        armature: rotation and scale of the node above the joints, which stay where they are.
        turned: degrees about y by which all is turned.
        matrices: whether nodes have matrices.
        more: members of the JSON besides.
    """
    rng = np.random.default_rng(axes_seed)
    count = len(made.names)
    yaw = Rotation.from_euler("y", turned, degrees=True).as_matrix()
    world = (
        Rotation.random(count, random_state=rng).as_matrix()
        if axes_seed is not None
        else np.tile(np.eye(3), (count, 1, 1))
    )
    world, places = yaw @ world, made.positions @ yaw.T
    base, scale = Rotation.from_quat(armature[0]).as_matrix(), armature[1]
    nodes: list[dict[str, Any]] = []
    for j, parent in enumerate(made.parents):
        before, origin = (base, np.zeros(3)) if parent < 0 else (world[parent], places[parent])
        local = Rotation.from_matrix(before.T @ world[j])
        node: dict[str, Any] = {"name": made.names[j]}
        translation = before.T @ (places[j] - origin) / scale
        if matrices:
            matrix = np.eye(4)
            matrix[:3, :3], matrix[:3, 3] = local.as_matrix(), translation
            node["matrix"] = matrix.T.reshape(-1).tolist()
        else:
            node |= {"translation": translation.tolist(), "rotation": local.as_quat().tolist()}
        children = [child for child, above in enumerate(made.parents) if above == j]
        nodes.append(node | ({"children": children} if children else {}))
    nodes.append({"name": "Armature", "rotation": list(armature[0]), "scale": [scale] * 3, "children": [0]})
    nodes.append({"name": "Body", "mesh": 0, "skin": 0})
    inverse = np.tile(np.eye(4, dtype=np.float32), (count, 1, 1))
    inverse[:, :3, :3] = np.swapaxes(world, 1, 2) / scale
    inverse[:, :3, 3] = -(np.swapaxes(world, 1, 2) @ places[..., None])[..., 0] / scale
    picture = bytes(range(97)) + b"\0\0\0"
    joints = np.zeros((count, 4), np.uint16)
    joints[:, 0] = np.arange(count)
    weights = np.zeros((count, 4), np.float32)
    weights[:, 0] = 1
    parts = [
        places.astype(np.float32).tobytes(), joints.tobytes(), weights.tobytes(),
        np.swapaxes(inverse, 1, 2).tobytes(), picture,
    ]  # fmt: skip
    views, at = [], 0
    for part in parts:
        views.append({"buffer": 0, "byteOffset": at, "byteLength": len(part)})
        at += len(part)
    bounds = {
        "min": places.astype(np.float32).min(axis=0).tolist(),
        "max": places.astype(np.float32).max(axis=0).tolist(),
    }
    attributes = {"POSITION": 0, "JOINTS_0": 1, "WEIGHTS_0": 2}
    skin_colour = [0.1, 0.2, 0.30000000000000004, 1]
    document: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": "made by a test"},
        "scene": 0,
        "scenes": [{"nodes": [count, count + 1]}],
        "nodes": nodes,
        "meshes": [{"primitives": [{"attributes": attributes, "mode": 0, "material": 0}]}],
        "materials": [{"name": "Haut", "pbrMetallicRoughness": {"baseColorFactor": skin_colour}}],
        "images": [{"bufferView": 4, "mimeType": "image/png"}],
        "skins": [{"joints": list(range(count)), "inverseBindMatrices": 3}],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": count, "type": "VEC3", **bounds},
            {"bufferView": 1, "componentType": 5123, "count": count, "type": "VEC4"},
            {"bufferView": 2, "componentType": 5126, "count": count, "type": "VEC4"},
            {"bufferView": 3, "componentType": 5126, "count": count, "type": "MAT4"},
        ],
        "bufferViews": views,
        "buffers": [{"byteLength": at}],
    } | dict(more or {})  # fmt: skip
    return packed_glb(document, b"".join(parts))


def packed_glb(document: Mapping[str, Any], binary: bytes | None) -> bytes:
    """The container around a JSON document and its binary data."""
    text = json.dumps(document).encode()
    chunks = [(b"JSON", text + b" " * (-len(text) % 4))]
    if binary is not None:
        chunks.append((b"BIN\0", binary + b"\0" * (-len(binary) % 4)))
    body = b"".join(struct.pack("<I4s", len(part), kind) + part for kind, part in chunks)
    return struct.pack("<4sII", b"glTF", 2, 12 + len(body)) + body


def bvh_rig(made: Skeleton, order: str = "ZXY", unit: float = 0.01, z_up: bool = False, frames: int = 2) -> bytes:
    """A file whose joints have the axes of the world, with a motion of zeros; `unit`: metres."""
    turn = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]) if z_up else np.eye(3)
    places = made.positions @ turn.T / unit
    lines, width = ["HIERARCHY"], 0

    def visit(joint: int, depth: int) -> None:
        nonlocal width
        parent, tab = made.parents[joint], "\t" * depth
        offset = places[joint] - (places[parent] if parent >= 0 else 0)
        lines.append(f"{tab}{'ROOT' if parent < 0 else 'JOINT'} {made.names[joint]}")
        lines.append(tab + "{")
        lines.append(f"{tab}\tOFFSET " + " ".join(f"{v:.6f}" for v in offset))
        positions = "Xposition Yposition Zposition " if parent < 0 else ""
        channels = positions + " ".join(f"{axis}rotation" for axis in order)
        width += len(channels.split())
        lines.append(f"{tab}\tCHANNELS {len(channels.split())} {channels}")
        for child, above in enumerate(made.parents):
            if above == joint:
                visit(child, depth + 1)
        if joint not in made.parents:
            lines.extend([f"{tab}\tEnd Site", tab + "\t{", f"{tab}\t\tOFFSET 0 0 1", tab + "\t}"])
        lines.append(tab + "}")

    visit(0, 0)
    lines += ["MOTION", f"Frames: {frames}", "Frame Time: 0.0333333", *[" ".join(["0"] * width)] * frames, ""]
    return "\n".join(lines).encode()


def stepping(frames: int = 90, fps: float = 30) -> Motion:
    """A dancer who steps on the spot, turns, bows and swings the arms, with feet that were finished."""
    t = np.arange(frames) / fps
    local = np.zeros((frames, 22, 3))
    lift = {"left": np.maximum(np.sin(2 * np.pi * t), 0), "right": np.maximum(-np.sin(2 * np.pi * t), 0)}
    for side, sign in (("left", 1), ("right", -1)):
        hip, knee, ankle = (JOINT_NAMES.index(name) for name in LEG_JOINTS[side])
        local[:, hip, 0] = -0.8 * lift[side] - 0.1
        local[:, knee, 0] = 1.4 * lift[side] + 0.2
        local[:, ankle, 0] = -0.6 * lift[side] - 0.1
        local[:, hip, 2] = sign * 0.08
        shoulder, elbow, _ = (JOINT_NAMES.index(name) for name in ARM_JOINTS[side])
        local[:, shoulder, 2] = sign * 1.2 * np.sin(np.pi * t + 0.5)
        local[:, shoulder, 1] = -sign * 0.8 * np.cos(np.pi * t)
        local[:, elbow, 1] = -sign * (1 + 0.8 * np.sin(2 * np.pi * t))
    local[:, 0, 1] = 0.9 * t
    local[:, 3, 0] = 0.2 * np.sin(np.pi * t)
    local[:, 12, 1] = 0.4 * np.sin(np.pi * t)
    turns = Rotation.from_rotvec(local.reshape(-1, 3)).as_matrix().reshape(frames, 22, 3, 3)
    root = np.stack([0.3 * t, np.full(frames, 0.96), 0.1 * np.sin(np.pi * t)], axis=1)
    return finish(forward_kinematics(root, turns), fps).motion
