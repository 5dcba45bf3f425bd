"""Motion as a Biovision Hierarchy (BVH) file, for Blender, MotionBuilder, Maya and Unity.

Written files hold the canonical SMPL-22 skeleton in centimetres, y up, in a T pose that faces +z, with the Euler order
Zrotation Xrotation Yrotation: R = Rz Rx Ry, degrees. In Blender, import with scale 0.01.

Joints have the names of SMPL, or those of another profile (`joint_profiles`).

Several dancers share one file: one ROOT hierarchy per dancer, whose joint names begin with the dancer's name and a
colon (`dancer-2:left_hip`), as namespaces do in Maya and MotionBuilder. Blender's importer reads such a file as one
armature with a root bone per dancer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.errors import InvalidInput
from choreo.files import atomic_write
from choreo.motion.clip import Motion
from choreo.motion.formats.bvh_mapping import completed, joint_weights, rest_positions
from choreo.motion.formats.bvh_parser import MAX_CHARS, Bvh, joint_rotations, parse_bvh, position_chunks, skeletons
from choreo.motion.formats.joint_profiles import SMPL, JointProfile
from choreo.motion.performance import Performance, check_names
from choreo.motion.resample import resample
from choreo.motion.rigid_pose import rigid_pose
from choreo.motion.skeleton import FPS, NUM_JOINTS, PARENTS, PELVIS, REST_OFFSETS, children
from choreo.motion.units import UNITS, leg_length, metres_per_unit
from choreo.motion.upright import AUTO, Upright, find_up, rest_up

Array = NDArray[np.float64]

UNITS_PER_METRE: Final = 100.0
"""Files are in centimetres, the unit that MotionBuilder and Maya assume."""
_FEWEST_JOINTS: Final = 6
"""A root with fewer is a camera or a prop next to the dancers."""
_ROTATIONS: Final = ("Zrotation", "Xrotation", "Yrotation")
# Where bones without a child joint end: top of the head, tips of toes and hands, metres.
_END_SITES: Final = {15: (0, 0.18, 0), 10: (0, 0, 0.06), 11: (0, 0, 0.06), 20: (0.17, 0, 0), 21: (-0.17, 0, 0)}


def bvh_text(dance: Motion | Performance, profile: JointProfile = SMPL) -> str:
    """The file's text. Motion without rotations is fitted first, so its joints may move by the residual of the fit.

    Args:
        dance: one or more dancers.
        profile: what joints are called.
    """
    performance = Performance.of(dance)
    header = ["HIERARCHY"]
    order: list[int] = []
    for name in performance.names:
        namespace = f"{name}:" if len(performance.dancers) > 1 else profile.namespace
        order, lines = _hierarchy([f"{namespace}{joint}" for joint in profile.names])
        header += lines
    channels = np.concatenate([_channels(dancer, order) for dancer in performance.dancers], axis=1)
    values = np.round(channels, 6) + 0.0  # + 0.0: no -0.0
    row = " ".join(["%.6f"] * values.shape[1])
    header += ["MOTION", f"Frames: {len(values)}", f"Frame Time: {1 / performance.fps:.10f}"]
    return "\n".join([*header, *(row % tuple(frame) for frame in values.tolist()), ""])


def bvh_bytes(dance: Motion | Performance, profile: JointProfile = SMPL) -> bytes:
    """`bvh_text` as the bytes of a file."""
    return bvh_text(dance, profile).encode("ascii")


def write_bvh(dance: Motion | Performance, path: Path) -> None:
    """Write `bvh_bytes` to `path`, whole or not at all."""
    atomic_write(path, bvh_bytes(dance))


def read_bvh(
    source: Path | str | bytes,
    field: str = "motion",
    *,
    scale: float | None = None,
    fps: float | None = FPS,
    up: str = AUTO,
) -> Motion:
    """Read a file of one skeleton, with the arguments and checks of `read_performance`.

    Raises:
        InvalidInput: not a BVH file, several skeletons, a joint cannot be found, or a limit is broken.
        OSError: the path cannot be read.
    """
    return read_performance(source, field, scale=scale, fps=fps, up=up).single(field)


def read_performance(
    source: Path | str | bytes,
    field: str = "motion",
    *,
    scale: float | None = None,
    fps: float | None = FPS,
    up: str = AUTO,
) -> Performance:
    """Read a file of this program or of foreign human skeletons, mapped onto SMPL-22.

    Args:
        source: a `Path` to a file, or the text itself; a string is never taken for a path.
        field: name of the offending field in errors.
        scale: metres per unit of the file; None: the unit that gives human legs, see `units.metres_per_unit`.
        fps: rate to resample to, linearly in positions; None keeps the file's.
        up: the axis that points up in the file; `auto`: the one that motion and rest pose say, see `upright.find_up`.

    Returns:
        One dancer per human root, called by the namespaces of the roots if these are distinct names. A dancer has
        rotations if the skeleton is the canonical one and its rate was kept, else positions only: the bones then have
        the lengths of the file, and `retarget.retarget` is the next step. `meta["notes"]` says what was guessed,
        estimated or turned, if anything was.

    Raises:
        InvalidInput: not a BVH file, a joint cannot be found, or a limit is broken.
        OSError: the path cannot be read.
    """
    if scale is not None and not (np.isfinite(scale) and scale > 0):
        raise InvalidInput("scale", f"must be a positive number of metres per unit, got {scale}")
    bvh = parse_bvh(_text(source, field), field)
    rate = _frame_rate(bvh, field)
    humans, told = _humans(skeletons(bvh), field)
    unit = scale if scale is not None else metres_per_unit(humans[0].positions)
    if scale is None and unit not in UNITS:
        told.append(f"is in no known unit: it is scaled to legs of {unit * leg_length(humans[0].positions):.2f} m")
    way_up = find_up([human.positions for human in humans], up, rest=humans[0].rest_up)
    notes = [*bvh.notes, *told, *(note for human in humans for note in human.notes)]
    if way_up.note:
        notes.append(way_up.note)
    dancers = tuple(_motion(human, rate, unit, fps, way_up, field) for human in humans)
    names = tuple(human.skeleton.names[0].rpartition(":")[0] for human in humans)
    try:
        check_names(names, len(humans), field)
    except InvalidInput:
        names = ()
    meta = {"source": "bvh", "source_fps": rate, "metres_per_unit": unit} | (
        {"notes": list(dict.fromkeys(notes))} if notes else {}
    )
    return Performance(dancers, meta, names)


@dataclass(frozen=True)
class _Human:
    """A skeleton with its joints found: positions (F, 22, 3) in file units and axes."""

    skeleton: Bvh
    weights: Array
    positions: Array
    rest_up: str | None
    notes: tuple[str, ...]


def _humans(roots: Sequence[Bvh], field: str) -> tuple[list[_Human], list[str]]:
    """The skeletons of humans, and notes on those of cameras and props next to them."""
    found: list[_Human] = []
    refused: list[tuple[str, InvalidInput]] = []
    for skeleton in roots:
        try:
            found.append(_human(skeleton, field))
        except InvalidInput as error:
            if sum(map(bool, skeleton.channels)) >= _FEWEST_JOINTS:
                raise
            refused.append((skeleton.names[0], error))
    if not found:
        raise refused[0][1]
    return found, [f"the root {name[:32]!r} is left out: it is no human" for name, _ in refused]


def _human(skeleton: Bvh, field: str) -> _Human:
    skeleton, notes = completed(skeleton, field)
    weights = joint_weights(skeleton, field)
    positions = np.concatenate([weights @ chunk for chunk in position_chunks(skeleton)])
    return _Human(skeleton, weights, positions, rest_up(weights @ rest_positions(skeleton)), notes)


def _channels(motion: Motion, order: list[int]) -> Array:
    """Values (T, 69) of one dancer's channels: root position in file units, then degrees of the joints in `order`."""
    root, local = rigid_pose(motion)
    angles = euler_zxy(local)[:, order].reshape(len(root), -1)
    return np.concatenate([root * UNITS_PER_METRE, angles], axis=1)


def _motion(human: _Human, rate: float, unit: float, fps: float | None, way_up: Upright, field: str) -> Motion:
    positions = way_up.turned(unit * human.positions)
    if fps is not None and fps != rate:
        return Motion(resample(positions, rate, fps, field).astype(np.float32), fps)
    rotations = _canonical_rotations(human.skeleton, human.weights, unit)
    if rotations is not None:
        rotations[:, PELVIS] = way_up.rotation @ rotations[:, PELVIS]
    return Motion(positions.astype(np.float32), rate, rotations)


def euler_zxy(rotations: NDArray[np.floating]) -> Array:
    """Angles (T, J, 3) about z, x, y in degrees with R = Rz Rx Ry, for rotations (T, J, 3, 3).

    Angles are as continuous over time as the rotations, so that curves can be edited and interpolated: they are
    unwrapped, and of the two triples for the same rotation the one closer to the previous frame is taken.
    """
    r = np.asarray(rotations, np.float64)
    z = np.arctan2(-r[..., 0, 1], r[..., 1, 1])
    x = np.arctan2(r[..., 2, 1], np.hypot(r[..., 0, 1], r[..., 1, 1]))
    # From the first row of Rz^T R = Rx Ry, which is that of Ry: exact in gimbal lock, too, where z is arbitrary.
    cos, sin = np.cos(z), np.sin(z)
    y = np.arctan2(cos * r[..., 0, 2] + sin * r[..., 1, 2], cos * r[..., 0, 0] + sin * r[..., 1, 0])
    return np.degrees(_continuous(np.stack([z, x, y], axis=-1)))


def _continuous(angles: Array) -> Array:
    turn = 2 * np.pi
    out = angles.copy()
    other = angles * (1, -1, 1) + np.pi  # (z + pi, pi - x, y + pi) is the same rotation
    for t in range(1, len(angles)):
        same = angles[t] + turn * np.round((out[t - 1] - angles[t]) / turn)
        flipped = other[t] + turn * np.round((out[t - 1] - other[t]) / turn)
        nearer = np.abs(flipped - out[t - 1]).sum(-1) < np.abs(same - out[t - 1]).sum(-1)
        out[t] = np.where(nearer[:, None], flipped, same)
    return out


def _hierarchy(names: Sequence[str]) -> tuple[list[int], list[str]]:
    """Depth-first joint order and the lines of the hierarchy of one dancer, whose joints have these 22 names."""
    order: list[int] = []
    lines: list[str] = []

    def visit(joint: int, depth: int) -> None:
        order.append(joint)
        tab = "\t" * depth
        position = "6 Xposition Yposition Zposition" if joint == PELVIS else "3"
        kind = "ROOT" if joint == PELVIS else "JOINT"
        lines.extend([f"{tab}{kind} {names[joint]}", tab + "{"])
        lines.append(f"{tab}\tOFFSET {_offset(REST_OFFSETS[joint])}")
        lines.append(f"{tab}\tCHANNELS {position} {' '.join(_ROTATIONS)}")
        for child in children(joint):
            visit(child, depth + 1)
        if joint in _END_SITES:
            site = _offset(np.array(_END_SITES[joint]))
            lines.extend([f"{tab}\tEnd Site", tab + "\t{", f"{tab}\t\tOFFSET {site}", tab + "\t}"])
        lines.append(tab + "}")

    visit(PELVIS, 0)
    return order, lines


def _offset(metres: NDArray[np.floating]) -> str:
    return " ".join(f"{value:.6f}" for value in metres * UNITS_PER_METRE)


def _text(source: Path | str | bytes, field: str) -> str:
    if isinstance(source, str):
        return source
    if isinstance(source, Path):
        with source.open("rb") as file:
            source = file.read(MAX_CHARS + 1)
    if len(source) > MAX_CHARS:
        raise InvalidInput(field, f"is larger than {MAX_CHARS // 2**20} MiB")
    return source.decode("utf-8", "replace")


def _frame_rate(bvh: Bvh, field: str) -> float:
    """Frames per second; 1 / 0.0333333 means 30, not 30.00003."""
    rate = 1 / bvh.frame_time
    if abs(rate - round(rate)) < 2e-4 * rate:
        rate = float(round(rate))
    if not 1 <= rate <= 1000:
        raise InvalidInput(field, f"Frame Time must be between 0.001 and 1 second, got {bvh.frame_time:g}")
    return rate


def _canonical_rotations(bvh: Bvh, weights: Array, scale: float) -> NDArray[np.float32] | None:
    """Local rotations (T, 22, 3, 3) if the file's skeleton is the canonical one, else None."""
    joints = weights.argmax(axis=1)
    # Not exactly 1: spine joints without a name of SMPL's are found as points on the way from pelvis to neck.
    if weights.max(axis=1).min() < 1 - 1e-6 or len(set(joints.tolist())) != NUM_JOINTS:
        return None
    parents = [-1 if parent < 0 else joints[parent] for parent in PARENTS]
    moved = any(name.endswith("position") for joint in joints[1:] for name in bvh.channels[joint])
    same = np.allclose(bvh.offsets[joints][1:] * scale, REST_OFFSETS[1:], rtol=0, atol=1e-6)
    if moved or not same or [bvh.parents[joint] for joint in joints] != parents:
        return None
    return np.stack([joint_rotations(bvh, joint) for joint in joints], axis=1).astype(np.float32)
