"""Reading the motion of human skeletons in a binary glTF file: .glb of any rig, and .vrma.

Joints are found by VRM's own map where the file has it (VRMC_vrm_animation), else by their names and by the shape of
the skeleton, as in BVH files. A GLB has a dancer per skin, or per set of skins that share joints; of several animations
those that this program wrote are read (`dance`, `dance-lead`), else the first. In a VRM animation every animation is a
dancer. Meshes are not looked at.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from choreo.errors import InvalidInput
from choreo.motion.clip import MAX_FRAMES, Motion
from choreo.motion.formats.bvh_mapping import completed, joint_weights
from choreo.motion.formats.bvh_parser import CHUNK_JOINTS, MAX_JOINT_FRAMES, Bvh
from choreo.motion.formats.gltf_accessors import Accessors
from choreo.motion.formats.gltf_curves import Curve, read_curves
from choreo.motion.formats.gltf_file import MAX_GLTF_BYTES, GltfFile, read_gltf
from choreo.motion.formats.gltf_nodes import NodeTree, read_nodes, transform_of
from choreo.motion.formats.gltf_skeletons import Skeleton, find_skeletons
from choreo.motion.performance import MAX_DANCERS, Performance, check_names
from choreo.motion.skeleton import FPS
from choreo.motion.units import LEG_METRES, leg_length, metres_per_unit

Array = NDArray[np.float64]

OWN: Final = "dance"
"""Name of an animation of this program, or what stands before the dancer's name in it."""
RATES: Final = (10.0, 1000.0)
"""Keys per second from which a frame rate is told; keys farther apart are poses, not frames."""
_SLACK: Final = 0.02
"""Times are float32: by so much of a frame the last key may be early."""


@dataclass(frozen=True)
class _Dance:
    """One skeleton in one animation."""

    name: str
    skeleton: Skeleton
    curves: dict[int, list[Curve]]


def read_performance(source: Path | bytes, field: str = "motion") -> Performance:
    """Read a file.

    Returns:
        Dancers with positions only, in metres: bones have the lengths of the file, and `retarget.retarget` is the next
        step. `meta` is that of a file of this program; else `meta["notes"]` says what was guessed or left out, if
        anything was.

    Raises:
        InvalidInput: not such a file, damaged, no animation, no human, or a limit is broken.
        OSError: the path cannot be read.
    """
    file = read_gltf(_data(source), field)
    tree = read_nodes(file.document, field)
    dances, notes = _dances(file, tree, field)
    used = [curve for dance in dances for curves in dance.curves.values() for curve in curves]
    extras = _extras(file.document)
    rate, told = _rate(used, extras.get("fps"))
    first, last = min(curve.times[0] for curve in used), max(curve.times[-1] for curve in used)
    frames = int((last - first) * rate + _SLACK) + 1
    joints = sum(len(dance.skeleton.nodes) for dance in dances)
    if frames > MAX_FRAMES or frames * joints > MAX_JOINT_FRAMES:
        raise InvalidInput(field, f"has {frames} frames of {joints} joints; that is too much to read")
    times = first + np.arange(frames) / rate
    motions: list[Motion] = []
    names: list[str] = []
    refused: InvalidInput | None = None
    for dance in dances:
        try:
            positions, more = _positions(dance, file, tree, times, field)
        except InvalidInput as error:  # a prop, or hair with a skin of its own
            refused = refused or error
            continue
        motions.append(Motion(positions.astype(np.float32), rate))
        names.append(dance.name)
        notes += more
    if not motions:
        raise refused or InvalidInput(field, "has no skeleton that moves")
    if len(motions) > MAX_DANCERS:
        raise InvalidInput(field, f"has {len(motions)} dancers; {MAX_DANCERS} are read")
    left = [] if refused is None else [f"{len(dances) - len(motions)} skeletons are left out: they are no humans"]
    told_of = list(dict.fromkeys([*notes, *told, *left]))
    meta = extras["meta"] if isinstance(extras.get("meta"), dict) else {"source": "glb", "source_fps": rate}
    return Performance(
        tuple(motions), meta | ({"notes": told_of} if told_of else {}), _checked(names, len(motions), field)
    )


def _data(source: Path | bytes) -> bytes:
    if isinstance(source, bytes):
        return source
    with source.open("rb") as file:
        return file.read(MAX_GLTF_BYTES + 1)


def _checked(names: list[str], count: int, field: str) -> tuple[str, ...]:
    """The names of dancers; none where they are not usable."""
    try:
        check_names(names, count, field)
    except InvalidInput:
        return ()
    return tuple(names)


def _extras(document: dict[str, Any]) -> dict[str, Any]:
    """What the first scene says of itself, in a file of this program."""
    scenes, asset = document.get("scenes"), document.get("asset")
    scene = scenes[0] if isinstance(scenes, list) and scenes else None
    extras = scene.get("extras") if isinstance(scene, dict) else None
    own = isinstance(asset, dict) and asset.get("generator") == "choreo"
    return extras if own and isinstance(extras, dict) else {}


def _dances(file: GltfFile, tree: NodeTree, field: str) -> tuple[list[_Dance], list[str]]:
    """Every skeleton with every animation that is read and moves it."""
    animations: list[dict[str, Any]] = file.document.get("animations", [])
    skeletons, all_of_them = find_skeletons(file.document, tree, field)
    names = [str(animation.get("name") or "")[:64] for animation in animations]
    own = [i for i, name in enumerate(names) if name == OWN or name.startswith(f"{OWN}-")]
    chosen = list(range(len(animations))) if all_of_them else own or list(range(len(animations)))[:1]
    notes = [f"has {len(animations)} animations, of which {names[0][:32]!r} is read"] if len(animations) > 1 else []
    accessors = Accessors(file, field)
    dances = []
    for number in chosen:
        curves = read_curves(animations[number], accessors, len(tree.names), field)
        for skeleton in skeletons:
            moving = {node: curves[node] for node in skeleton.above_and_in(tree) if node in curves}
            if moving:
                own_name = names[number].removeprefix(f"{OWN}-")
                dances.append(
                    _Dance(skeleton.name if skeleton.name and len(chosen) == 1 else own_name, skeleton, moving)
                )
    if not dances:
        raise InvalidInput(field, "has no animation of a skeleton")
    if len(dances) > 8 * MAX_DANCERS:
        raise InvalidInput(field, f"has {len(dances)} skeletons that move; {MAX_DANCERS} dancers are read")
    return dances, ([] if own or all_of_them else notes)


def _rate(curves: list[Curve], said: Any) -> tuple[float, list[str]]:
    """Frames per second: what the file says, or that of the curve with most keys."""
    if type(said) in (int, float) and 1 <= said <= RATES[1]:
        return float(said), []
    steps = np.diff(max((curve.times for curve in curves), key=len))
    if not len(steps):
        return float(FPS), []
    rate = float(1 / np.median(steps))
    if abs(rate - round(rate)) < 1e-2 * rate:
        rate = float(round(rate))
    if RATES[0] <= rate <= RATES[1]:
        even = np.ptp(steps) < 0.1 / rate
        return rate, [] if even else [f"has keys at uneven distances: {rate:g} frames per second are taken"]
    return float(FPS), [f"has few keys: it is read at {FPS} frames per second"]


def _positions(
    dance: _Dance, file: GltfFile, tree: NodeTree, times: Array, field: str
) -> tuple[Array, tuple[str, ...]]:
    """Joints (T, 22, 3) in metres, and notes on what was guessed."""
    skeleton = dance.skeleton
    bvh, notes = completed(skeleton.at_rest(tree), field)
    weights = joint_weights(bvh, field)
    chunks = _placed(dance, file.document["nodes"], tree, times, field)
    positions = np.concatenate([weights @ _with_ends(bvh, skeleton, tree, *chunk) for chunk in chunks])
    legs = leg_length(positions)
    if LEG_METRES[0] <= legs <= LEG_METRES[1]:
        return positions, notes
    return positions * metres_per_unit(positions), (*notes, f"has legs of {legs:.3g} m: it is scaled")


def _with_ends(bvh: Bvh, skeleton: Skeleton, tree: NodeTree, positions: Array, turns: Array) -> Array:
    """Positions (n, J, 3) with the end sites that `completed` added, from world rotations (n, J, 3, 3)."""
    ends = range(len(skeleton.nodes), len(bvh.names))
    added = [
        positions[:, bvh.parents[end]]
        + turns[:, bvh.parents[end]] @ (tree.rotations[skeleton.nodes[bvh.parents[end]]].T @ bvh.offsets[end])
        for end in ends
    ]
    return np.concatenate([positions, *(place[:, None] for place in added)], axis=1)


def _placed(
    dance: _Dance, nodes: list[dict[str, Any]], tree: NodeTree, times: Array, field: str
) -> Iterator[tuple[Array, Array]]:
    """World positions (n, J, 3) and rotations (n, J, 3, 3) of the skeleton, in consecutive pieces of the times."""
    chain = dance.skeleton.above_and_in(tree)
    rest = {node: transform_of(nodes[node], tree.names[node], field) for node in chain}
    step = max(1, CHUNK_JOINTS // len(chain))
    wanted = list(dance.skeleton.nodes)
    for start in range(0, len(times), step):
        now = times[start : start + step]
        world: dict[int, tuple[Array, Array, Array]] = {}
        for node in chain:
            parts = dict(zip(("translation", "rotation", "scale"), rest[node], strict=True))
            moved = {name: np.broadcast_to(value, (len(now), len(value))) for name, value in parts.items()}
            moved |= {curve.path: curve.at(now) for curve in dance.curves.get(node, ())}
            turn = Rotation.from_quat(moved["rotation"]).as_matrix()
            world[node] = _below(world.get(tree.parents[node]), moved["translation"], turn, moved["scale"])
        yield np.stack([world[node][0] for node in wanted], 1), np.stack([world[node][2] for node in wanted], 1)


def _below(
    above: tuple[Array, Array, Array] | None, translation: Array, turn: Array, scale: Array
) -> tuple[Array, Array, Array]:
    """World position (n, 3), linear part (n, 3, 3) and rotation (n, 3, 3) of a node below another."""
    if above is None:
        return translation, turn * scale[:, None], turn
    place, linear, rotation = above
    return (
        place + (linear @ translation[..., None])[..., 0],
        linear @ (turn * scale[:, None]),
        rotation @ turn,
    )
