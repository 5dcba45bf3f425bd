"""Mapping of the joints of foreign skeletons to those of SMPL-22.

Every SMPL joint is a fixed linear combination of the file's joints, so a mapping is a matrix. Joints are found by what
their names say (`joint_names`), and those whose names say nothing by the shape of the tree (`joint_shape`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.errors import InvalidInput
from choreo.motion.formats.bvh_parser import Bvh
from choreo.motion.formats.joint_names import CENTRE, LIMBS, JointName, Side, first_joints, read_names
from choreo.motion.formats.joint_shape import joints_by_shape
from choreo.motion.skeleton import BONE_LENGTHS, JOINT_NAMES, L_ANKLE, L_FOOT, L_KNEE, NECK, NUM_JOINTS, REST_OFFSETS

Array = NDArray[np.float64]

_SPINE: Final = ("spine1", "spine2", "spine3")
_SPINE_FRACTIONS: Final = np.cumsum(BONE_LENGTHS[[3, 6, 9, NECK]])[:3] / BONE_LENGTHS[[3, 6, 9, NECK]].sum()
"""Positions of the canonical spine joints as fractions of the way from pelvis to neck."""
_COINCIDENT: Final = 0.1
"""A collar that is closer to the spine than this fraction of its distance to the shoulder is not used as it is: the
clavicles of CMU files start in the spine."""
_COLLAR_FRACTION: Final = 0.35
"""Position of the collar on the way from such a joint to the shoulder."""
_NECK_FRACTION: Final = float(BONE_LENGTHS[NECK] / (BONE_LENGTHS[NECK] + BONE_LENGTHS[15]))
"""Position of a missing neck on the way from the chest to the head."""
_SIDED: Final[tuple[Side, Side]] = ("left", "right")
_OPTIONAL: Final = ("left_collar", "right_collar", *_SPINE)
_ESTIMATED: Final = ("neck", "left_foot", "right_foot")
"""Joints without which a skeleton is still that of a human."""


@dataclass
class FoundJoints:
    """Joints of a file with a counterpart in SMPL-22.

    Attributes:
        index: SMPL name to joint. Spine joints, collars, neck and toes may be missing.
        notes: what was not read from names.
    """

    index: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def completed(bvh: Bvh, field_name: str = "motion") -> tuple[Bvh, tuple[str, ...]]:
    """The skeleton with an end site for toes that it lacks, and notes on what was found by shape or estimated.

    Raises:
        InvalidInput: a joint is missing; the message names it.
    """
    found = find_joints(bvh, field_name)
    missing = [side for side in _SIDED if f"{side}_foot" not in found.index]
    notes = list(found.notes)
    if missing:
        notes.append("has no toes: they are estimated")
        bvh = _with_toes(bvh, [found.index[f"{side}_ankle"] for side in missing], found.index)
    return bvh, tuple(notes)


def joint_weights(bvh: Bvh, field_name: str = "motion") -> Array:
    """Matrix (22, J) that maps the file's joint positions to those of SMPL-22.

    Limbs, neck and head are joints of the file. Spine joints without a counterpart are interpolated along the file's
    chain from pelvis to neck, missing collars between chest and shoulder, a missing neck between chest and head.

    Raises:
        InvalidInput: a joint is missing; the message names it.
    """
    found = find_joints(bvh, field_name).index
    weights = np.zeros((NUM_JOINTS, len(bvh.names)))
    for name, joint in found.items():
        weights[JOINT_NAMES.index(name), joint] = 1
    rest = rest_positions(bvh)
    if "neck" not in found:
        chest = _common_ancestor(bvh, [found["left_shoulder"], found["right_shoulder"], found["head"]])
        weights[NECK, found["head"]] = _NECK_FRACTION
        weights[NECK, chest] += 1 - _NECK_FRACTION
    for side in _SIDED:
        if f"{side}_foot" not in found:  # `completed` was not asked: the toes are where the ankle is
            weights[JOINT_NAMES.index(f"{side}_foot"), found[f"{side}_ankle"]] = 1
    chain = _chain(bvh, found.get("neck", found["head"]), found["pelvis"])
    if not all(name in found for name in _SPINE):
        weights[[JOINT_NAMES.index(name) for name in _SPINE]] = _along(chain, rest, len(bvh.names))
    spine = rest[chain]
    for side in _SIDED:
        shoulder = found[f"{side}_shoulder"]
        collar = found.get(f"{side}_collar")
        row = weights[JOINT_NAMES.index(f"{side}_collar")]
        if collar is None:
            row += weights[JOINT_NAMES.index("spine3")] / 2
            row[shoulder] += 0.5
        elif np.linalg.norm(spine - rest[collar], axis=1).min() <= _COINCIDENT * np.linalg.norm(
            rest[shoulder] - rest[collar]
        ):
            row[collar] = 1 - _COLLAR_FRACTION
            row[shoulder] = _COLLAR_FRACTION
    return weights


def find_joints(bvh: Bvh, field_name: str = "motion") -> FoundJoints:
    """The joints of a human in a skeleton of any names.

    Raises:
        InvalidInput: one has no counterpart, neither by name nor by the shape of the tree.
    """
    names = read_names(bvh.names)
    parents = set(bvh.parents)
    moving = [bool(channels) or joint in parents for joint, channels in enumerate(bvh.channels)]
    found = FoundJoints(_named(bvh, names, first_joints(names, moving)))
    wanted = [name for name in JOINT_NAMES if name not in _OPTIONAL]
    missing = [name for name in wanted if name not in found.index]
    if any(name not in (*_ESTIMATED, "pelvis") for name in missing):
        _add_by_shape(found, bvh, names, missing, field_name)
    _add_pelvis_neck_and_toes(found, bvh)
    return found


def _named(bvh: Bvh, names: Sequence[JointName], index: dict[tuple[Side | None, str], int]) -> dict[str, int]:
    """What names alone say."""
    found: dict[str, int] = {}

    def find(name: str, side: Side | None, words: tuple[str, ...]) -> None:
        taken = set(found.values())
        joints = (index[side, word] for word in words if (side, word) in index)
        joint = next((joint for joint in joints if joint not in taken), None)
        if joint is not None:
            found[name] = joint

    for name, words in CENTRE.items():
        find(name, None, words)
    for side in _SIDED:
        knees = [word for word in LIMBS["knee"] if word != "leg" and (side, word) in index]
        for part, words in LIMBS.items():
            # Where the shank is called so, the leg is the thigh.
            find(f"{side}_{part}", side, (*words, "leg") if part == "hip" and knees else words)
    plain = ["".join(c for c in name.rpartition(":")[2].lower() if c.isalnum()) for name in bvh.names]
    if all(name in plain for name in _SPINE):
        found |= {name: plain.index(name) for name in _SPINE}
    # In CMU conversions Neck coincides with the chest, and the actual neck is below it.
    if "neck" in found and not bvh.offsets[found["neck"]].any():
        below = (joint for joint, parent in enumerate(bvh.parents) if parent == found["neck"])
        found["neck"] = next((joint for joint in below if names[joint].word == "neck"), found["neck"])
    return found


def _add_by_shape(
    found: FoundJoints, bvh: Bvh, names: Sequence[JointName], missing: Sequence[str], field_name: str
) -> None:
    """Add what the shape of the tree says of the missing joints; of all, where names say little."""

    def side_of(joints: Sequence[int]) -> Side | None:
        votes = [names[joint].side for joint in joints]
        left, right = votes.count("left"), votes.count("right")
        return None if left == right else "left" if left > right else "right"

    shaped = joints_by_shape(bvh, side_of)
    if shaped is not None:
        if len(missing) > NUM_JOINTS / 3:
            found.index.clear()
        taken = set(found.index.values())
        wanted = missing if found.index else list(shaped.index)
        added = {name: j for name, j in shaped.index.items() if name in wanted and j not in taken}
        found.index |= added
        count = f"{len(added)} joint{'s' if len(added) > 1 else ''}"
        guessed = "" if shaped.sides_known else "; which side is left is a guess"
        found.notes.append(f"{count} with names that say nothing found by the shape of the skeleton{guessed}")
    still = [name for name in missing if name not in found.index and name not in (*_ESTIMATED, "pelvis")]
    if still:
        words = CENTRE.get(still[0]) or LIMBS[still[0].partition("_")[2]]
        place = "nor is there one in its place" if shaped else "and the skeleton has not the shape of a human"
        raise InvalidInput(field_name, f"has no joint for {still[0]!r}: none is called {', '.join(words)}, {place}")


def _add_pelvis_neck_and_toes(found: FoundJoints, bvh: Bvh) -> None:
    """Add what follows from the other joints: where the legs part, what carries the head, what hangs on the ankle."""
    index = found.index
    if "pelvis" not in index:
        index["pelvis"] = _common_ancestor(bvh, [index["left_hip"], index["right_hip"]])
    if "neck" not in index:
        arms = _common_ancestor(bvh, [index["left_shoulder"], index["right_shoulder"], index["head"]])
        above = _chain(bvh, index["head"], arms)[1:-1]
        if above and above[-1] not in index.values():
            index["neck"] = above[-1]
            found.notes.append(f"{bvh.names[above[-1]]!r}, which carries the head, is taken for the neck")
        else:
            found.notes.append("has no neck: it is estimated")
    for side in _SIDED:
        if f"{side}_foot" not in index:
            below = [j for j, parent in enumerate(bvh.parents) if parent == index[f"{side}_ankle"]]
            below = [j for j in below if bvh.offsets[j].any()]
            if below:
                index[f"{side}_foot"] = max(below, key=lambda j: float(np.linalg.norm(bvh.offsets[j])))


def _with_toes(bvh: Bvh, ankles: Sequence[int], index: dict[str, int]) -> Bvh:
    """The skeleton with an end site at each of the ankles, in front of and below it in the rest pose."""
    rest = rest_positions(bvh)
    legs = [[index[f"{side}_{part}"] for part in ("hip", "knee", "ankle")] for side in _SIDED]
    size = np.mean([np.linalg.norm(np.diff(rest[leg], axis=0), axis=1).sum() for leg in legs])
    size /= BONE_LENGTHS[[L_KNEE, L_ANKLE]].sum()
    up = rest[index["head"]] - rest[index["pelvis"]]
    left = rest[index["left_hip"]] - rest[index["right_hip"]]
    forward = np.cross(left, up)
    axes = np.stack([v / max(float(np.linalg.norm(v)), 1e-9) for v in (up, forward)])
    offset = REST_OFFSETS[L_FOOT][1:] * size @ axes
    return replace(
        bvh,
        names=(*bvh.names, *(f"{bvh.names[ankle]}_end" for ankle in ankles)),
        parents=(*bvh.parents, *ankles),
        offsets=np.concatenate([bvh.offsets, np.tile(offset, (len(ankles), 1))]),
        channels=(*bvh.channels, *(() for _ in ankles)),
    )


def _ancestors(bvh: Bvh, joint: int) -> list[int]:
    """The joint and all above it."""
    out = [joint]
    while (joint := bvh.parents[joint]) >= 0:
        out.append(joint)
    return out


def _common_ancestor(bvh: Bvh, joints: Sequence[int]) -> int:
    """The lowest joint that all of them hang on."""
    shared = set.intersection(*(set(_ancestors(bvh, joint)) for joint in joints))
    return max(shared, key=lambda joint: len(_ancestors(bvh, joint)))


def rest_positions(bvh: Bvh) -> Array:
    """Positions (J, 3) of the rest pose, with the root where its offset says, in file units."""
    rest = bvh.offsets.copy()
    for joint, parent in enumerate(bvh.parents):
        if parent >= 0:
            rest[joint] += rest[parent]
    return rest


def _chain(bvh: Bvh, neck: int, pelvis: int) -> list[int]:
    """Joints from pelvis to neck, inclusive; only these two if the neck is not a descendant of the pelvis."""
    chain = [neck]
    while chain[-1] != pelvis:
        parent = bvh.parents[chain[-1]]
        if parent < 0:
            return [pelvis, neck]
        chain.append(parent)
    return chain[::-1]


def _along(chain: list[int], rest: Array, num_joints: int) -> Array:
    """Weights (3, J) of the points at `_SPINE_FRACTIONS` of a chain's length in the rest pose."""
    lengths = np.linalg.norm(np.diff(rest[chain], axis=0), axis=1)
    reached = np.concatenate([[0.0], np.cumsum(lengths)])
    corners = np.eye(num_joints)[chain]
    if reached[-1] <= 0:
        return np.repeat(corners[[0]], 3, axis=0)
    return np.stack([np.interp(_SPINE_FRACTIONS, reached / reached[-1], column) for column in corners.T], axis=1)
