"""A mannequin of capsules around the rest pose, as triangles: the figure of the previews, for formats with meshes."""

from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.motion import rotations as rot
from choreo.motion.formats.preview import CROWN, JAW, LIMBS, NOSE, body_points
from choreo.motion.kinematics import forward_kinematics
from choreo.motion.skeleton import ANKLE_HEIGHT, HEAD, L_ANKLE, L_HIP, NUM_JOINTS, PELVIS, R_HIP

Array = NDArray[np.float64]

SEGMENTS: Final = 12
"""Vertices around a capsule."""
CAP_RINGS: Final = 3
"""Rings of each of its two half spheres, without the pole."""


@dataclass(frozen=True)
class Mannequin:
    """A mesh in the rest pose; every vertex moves with one joint.

    Attributes:
        joints: (22, 3) of the rest pose, metres, y up, standing on y = 0.
        vertices: (V, 3) metres.
        normals: (V, 3) unit vectors out of the body.
        bones: (V,) the joint that each vertex moves with.
        triangles: (F, 3) vertices of the left limbs, the right limbs and the torso, counter-clockwise from outside.
    """

    joints: Array
    vertices: Array
    normals: Array
    bones: NDArray[np.uint8]
    triangles: tuple[NDArray[np.uint16], ...]


@cache
def mannequin() -> Mannequin:
    """The mesh; the same one every time, not to be changed."""
    joints = rest_joints()
    points = body_points(joints)
    vertices, normals, bones = [], [], []
    triangles: list[list[NDArray[np.int64]]] = [[], [], []]
    count = 0
    for limb in LIMBS:
        where, out, faces = _capsule(points[limb.a], points[limb.b], limb.radius_a, limb.radius_b)
        vertices.append(where)
        normals.append(out)
        bones.append(np.full(len(where), _bone(limb.a, limb.b), np.uint8))
        triangles[limb.side].append(faces + count)
        count += len(where)
    return Mannequin(
        joints,
        np.concatenate(vertices),
        np.concatenate(normals),
        np.concatenate(bones),
        tuple(np.concatenate(faces).astype(np.uint16) for faces in triangles),
    )


def rest_joints() -> Array:
    """Joints (22, 3) of the T pose with flat feet on y = 0, metres."""
    rest = forward_kinematics(np.zeros(3), np.broadcast_to(np.eye(3), (NUM_JOINTS, 3, 3)))
    return rest + np.array([0.0, ANKLE_HEIGHT - rest[L_ANKLE, 1], 0.0])


def _bone(start: int, end: int) -> int:
    """The joint whose rotation moves a limb: mostly the one that it begins at."""
    if (start, end) == (L_HIP, R_HIP):
        return PELVIS
    return HEAD if start in (JAW, CROWN, NOSE) else start


def _capsule(a: Array, b: Array, radius_a: float, radius_b: float) -> tuple[Array, Array, NDArray[np.int64]]:
    """Vertices and normals (V, 3) and triangles (F, 3) of a rounded limb from a to b."""
    axis = rot.normalize(b - a)
    side = rot.normalize(rot.cross(axis, np.eye(3)[np.abs(axis).argmin()]))
    frame = np.stack([side, rot.cross(axis, side), axis])
    rise = np.linspace(0, np.pi / 2, CAP_RINGS + 1)[:-1]
    tilt = np.concatenate([-rise[::-1], rise])  # of the normals, from one end to the other
    around = np.arange(SEGMENTS) * (2 * np.pi / SEGMENTS)
    ring = np.stack([np.cos(around), np.sin(around), np.zeros(SEGMENTS)], axis=1)
    normals = np.cos(tilt)[:, None, None] * ring + np.sin(tilt)[:, None, None] * np.array([0, 0, 1.0])
    normals = np.concatenate([[[0, 0, -1.0]], normals.reshape(-1, 3), [[0, 0, 1.0]]]) @ frame
    first = np.arange(len(normals)) < len(normals) // 2
    centres, radii = np.where(first[:, None], a, b), np.where(first, radius_a, radius_b)
    return centres + radii[:, None] * normals, normals, _faces(len(tilt))


def _faces(rings: int) -> NDArray[np.int64]:
    """Triangles (F, 3) between a pole, rings of SEGMENTS vertices, and a pole."""
    here = np.arange(SEGMENTS)
    beside = (here + 1) % SEGMENTS
    starts = 1 + SEGMENTS * np.arange(rings)
    last = 1 + SEGMENTS * rings
    faces = [np.stack([np.zeros_like(here), starts[0] + beside, starts[0] + here], axis=1)]
    for low, high in pairwise(starts):
        faces.append(np.stack([low + here, low + beside, high + beside], axis=1))
        faces.append(np.stack([low + here, high + beside, high + here], axis=1))
    faces.append(np.stack([np.full_like(here, last), starts[-1] + here, starts[-1] + beside], axis=1))
    return np.concatenate(faces)
