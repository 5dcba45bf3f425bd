"""A dance on another skeleton: rotations relative to the rest poses, the hips scaled, the feet on the floor.

With world rotations G of the canonical skeleton, whose rest pose has none, and C that takes a joint of the rig from its
rest pose to the canonical T pose, the joint is turned by D = G C from its rest pose. Its local rotation follows from
the rest rotations R of joint and parent, R_p^T D_p^T D R, whatever axes joints have.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.motion import rotations as rot
from choreo.motion.clip import Motion
from choreo.motion.kinematics import forward_kinematics, world_rotations
from choreo.motion.rigid_pose import rigid_pose
from choreo.motion.skeleton import CHEST, HEAD, JOINT_NAMES, L_HIP, NECK, PELVIS, R_HIP, SPINE1, SPINE2
from choreo.rigs.body import SIDES, Body
from choreo.rigs.feet import Legs, ground
from choreo.rigs.joint_map import JointMap
from choreo.rigs.rig import Rig, RigMotion

Array = NDArray[np.float64]

_SPINE: Final = (PELVIS, SPINE1, SPINE2, CHEST)
_NECK: Final = (CHEST, NECK)


def retarget(motion: Motion, rig: Rig, mapped: JointMap, body: Body) -> RigMotion:
    """The motion of a rig.

    Args:
        motion: of one dancer on the canonical skeleton.
        rig: in its rest pose.
        mapped: its joints.
        body: `body_of` the two.
    """
    root, local = rigid_pose(motion)
    world = world_rotations(local)
    source = forward_kinematics(root, local)
    deltas = _deltas(world, mapped, body)
    tree = _Tree(rig, list(deltas), body)
    positions = tree.positions(deltas)
    hips = [mapped.joints[f"{side}_hip"] for side in SIDES]
    middle = (source[:, L_HIP] + source[:, R_HIP]) / 2 - (positions[hips[0]] + positions[hips[1]]) / 2
    positions = {joint: place + middle for joint, place in positions.items()}
    grounded = ground(source, _legs(positions, deltas, mapped, body), motion.fps)
    shift = grounded.shift[:, None]
    _bend_legs(deltas, positions, grounded.knee - shift, grounded.ankle - shift, mapped)
    path = positions[mapped.root] + grounded.shift
    return RigMotion(
        tuple(deltas),
        tree.local(deltas),
        mapped.root,
        body.scale * path @ body.axes.T,
        body.scale,
        body.notes,
    )


def _deltas(world: Array, mapped: JointMap, body: Body) -> dict[int, Array]:
    """Joint to world rotation (T, 3, 3) from its rest pose, in canonical axes."""
    out: dict[int, Array] = {mapped.root: world[:, PELVIS]}
    if "pelvis" in mapped.joints:
        out[mapped.joints["pelvis"]] = world[:, PELVIS]
    for joints, ours in ((mapped.spine, _SPINE), (mapped.neck, _NECK)):
        for place, joint in enumerate(joints, 1):
            out.setdefault(joint, _along(world, ours, place / len(joints)))
    out[mapped.joints["head"]] = world[:, HEAD]
    for name, joint in mapped.joints.items():
        if name not in ("pelvis", "head"):
            turn = world[:, JOINT_NAMES.index(name)]
            out[joint] = turn @ body.to_t[joint] if joint in body.to_t else turn
    return out


def _along(world: Array, joints: tuple[int, ...], share: float) -> Array:
    """Rotation (T, 3, 3) at a share, above 0 and up to 1, of the way along some joints, between them on the sphere."""
    place = share * (len(joints) - 1)
    low = min(int(place), len(joints) - 2)
    start, end = world[:, joints[low]], world[:, joints[low + 1]]
    turn = rot.rotation_vector(np.swapaxes(start, -1, -2) @ end)
    return start @ rot.axis_angle(rot.normalize(turn), (place - low) * rot.length(turn))


class _Tree:
    """The joints that turn, and what is rigid between them.

    Args:
        rig: all joints.
        joints: those that turn.
        body: the rig in canonical axes and size.
    """

    def __init__(self, rig: Rig, joints: list[int], body: Body) -> None:
        turning = set(joints)
        self._rig, self._body = rig, body
        self._joints = sorted(joints)  # parents come first
        self._above = {
            joint: next((above for above in rig.path(joint)[1:] if above in turning), None) for joint in joints
        }

    def positions(self, deltas: dict[int, Array]) -> dict[int, Array]:
        """Where joints (T, 3) are, with the topmost where it rests."""
        out: dict[int, Array] = {}
        rest = self._body.rest
        for joint in self._joints:
            above = self._above[joint]
            if above is None:
                out[joint] = np.broadcast_to(rest[joint], (len(deltas[joint]), 3))
            else:
                out[joint] = out[above] + deltas[above] @ (rest[joint] - rest[above])
        return out

    def local(self, deltas: dict[int, Array]) -> Array:
        """Local rotations (T, M, 3, 3) in the file's axes, in the order of `deltas`."""
        axes, rig = self._body.axes, self._rig
        out = []
        for joint, delta in deltas.items():
            above, parent = self._above[joint], rig.parents[joint]
            relative = delta if above is None else np.swapaxes(deltas[above], -1, -2) @ delta
            before = np.eye(3) if parent < 0 else rig.rotations[parent]
            out.append((before.T @ axes) @ relative @ (axes.T @ rig.rotations[joint]))
        return np.stack(out, axis=1)


def _legs(positions: dict[int, Array], deltas: dict[int, Array], mapped: JointMap, body: Body) -> Legs:
    hip, knee, ankle = (
        np.stack([positions[mapped.joints[f"{side}_{part}"]] for side in SIDES], axis=1)
        for part in ("hip", "knee", "ankle")
    )
    ankles = [mapped.joints[f"{side}_ankle"] for side in SIDES]
    feet = [deltas[joint] @ (body.toes[i] - body.rest[joint]) for i, joint in enumerate(ankles)]
    flat = np.stack([body.rest[ankles, 1], body.toes[:, 1]], axis=1) - body.floor
    return Legs(hip, knee, ankle, ankle + np.stack(feet, axis=1), flat)


def _bend_legs(
    deltas: dict[int, Array], positions: dict[int, Array], knee: Array, ankle: Array, mapped: JointMap
) -> None:
    """Turn thighs and shanks, in place, so that knees and ankles (T, 2, 3) are where they should be."""
    for i, side in enumerate(SIDES):
        hip, old_knee, old_ankle = (mapped.joints[f"{side}_{part}"] for part in ("hip", "knee", "ankle"))
        start = positions[hip]
        for joint, before, after in (
            (hip, positions[old_knee] - start, knee[:, i] - start),
            (old_knee, positions[old_ankle] - positions[old_knee], ankle[:, i] - knee[:, i]),
        ):
            deltas[joint] = rot.shortest_arc(before, after) @ deltas[joint]
