"""Mapping of the joints of foreign skeletons to those of SMPL-22.

Every SMPL joint is a fixed linear combination of the file's joints, so a mapping is a matrix. Three families of names
are recognised: this program's own, those of the CMU conversions by B. Hahne (cgspeed), LaFAN1 and Mixamo (`Hips`,
`LeftUpLeg`, `LeftLeg`, ...), and Biovision's (`LeftHip`, `LeftKnee`, `LeftAnkle`, ...). Letter case, punctuation and a
namespace before a colon are ignored.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.errors import InvalidInput
from choreo.motion.formats.bvh_parser import Bvh
from choreo.motion.skeleton import BONE_LENGTHS, JOINT_NAMES, NECK, NUM_JOINTS

Array = NDArray[np.float64]

# Names in order of preference. Each joint of the file is used once: `LeftFoot` is the ankle unless there is a
# `LeftAnkle`, and `LeftShoulder` is the shoulder unless there is a `LeftArm`. The order of the entries matters, too.
_CENTRE: Final[dict[str, tuple[str, ...]]] = {
    "pelvis": ("pelvis", "hips", "hip"),
    "neck": ("neck",),
    "head": ("head",),
}
_SIDE: Final[dict[str, tuple[str, ...]]] = {
    "hip": ("upleg", "thigh", "upperleg", "hip"),
    "knee": ("knee", "lowleg", "lowerleg", "leg", "shin", "calf"),
    "ankle": ("ankle", "foot"),
    "foot": ("toebase", "toe", "toes", "ball", "foot", "footend", "ankleend"),
    "shoulder": ("arm", "uparm", "upperarm", "shoulder"),
    "elbow": ("elbow", "forearm", "lowarm", "lowerarm"),
    "wrist": ("wrist", "hand", "forearmend", "elbowend", "lowarmend"),
}
_COLLAR: Final = ("collar", "clavicle", "shoulder")
_SPINE: Final = ("spine1", "spine2", "spine3")

_SPINE_FRACTIONS: Final = np.cumsum(BONE_LENGTHS[[3, 6, 9, NECK]])[:3] / BONE_LENGTHS[[3, 6, 9, NECK]].sum()
"""Positions of the canonical spine joints as fractions of the way from pelvis to neck."""
_COINCIDENT: Final = 0.1
"""A collar that is closer to the spine than this fraction of its distance to the shoulder is not used as it is: the
clavicles of CMU files start in the spine."""
_COLLAR_FRACTION: Final = 0.35
"""Position of the collar on the way from such a joint to the shoulder."""


def joint_weights(bvh: Bvh, field: str = "motion") -> Array:
    """Matrix (22, J) that maps the file's joint positions to those of SMPL-22.

    Limbs, neck and head are joints of the file. Spine joints without a counterpart are interpolated along the file's
    chain from pelvis to neck, missing collars between chest and shoulder.

    Raises:
        InvalidInput: a joint is missing; the message names it.
    """
    found = _find_joints(bvh, field)
    weights = np.zeros((NUM_JOINTS, len(bvh.names)))
    for name, joint in found.items():
        weights[JOINT_NAMES.index(name), joint] = 1
    rest = _rest_positions(bvh)
    chain = _chain(bvh, found["neck"], found["pelvis"])
    if not all(name in found for name in _SPINE):
        weights[[JOINT_NAMES.index(name) for name in _SPINE]] = _along(chain, rest, len(bvh.names))
    spine = rest[chain]
    for side in ("left", "right"):
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


def _find_joints(bvh: Bvh, field: str) -> dict[str, int]:
    """Index in the file of every SMPL joint with a counterpart; spine joints and collars may have none.

    Raises:
        InvalidInput: another joint has none.
    """
    index: dict[str, int] = {}
    for joint, name in enumerate(bvh.names):
        index.setdefault(_plain(name), joint)
    found: dict[str, int] = {}

    def find(name: str, aliases: tuple[str, ...]) -> bool:
        taken = set(found.values())
        joint = next((index[a] for a in aliases if a in index and index[a] not in taken), None)
        if joint is not None:
            found[name] = joint
        return joint is not None

    required = dict(_CENTRE)
    for side in ("left", "right"):
        required |= {f"{side}_{part}": tuple(side + alias for alias in aliases) for part, aliases in _SIDE.items()}
    for name, aliases in required.items():
        if not find(name, aliases):
            raise InvalidInput(field, f"has no joint for {name!r}; looked for {', '.join(aliases)}")
    for side in ("left", "right"):
        find(f"{side}_collar", tuple(side + alias for alias in _COLLAR))
    if all(name in index for name in _SPINE):
        for name in _SPINE:
            find(name, (name,))
    # In CMU conversions Neck coincides with the chest, and the actual neck is Neck1.
    if not bvh.offsets[found["neck"]].any() and "neck1" in index:
        found["neck"] = index["neck1"]
    return found


def _plain(name: str) -> str:
    return "".join(c for c in name.rpartition(":")[2].lower() if c.isalnum())


def _rest_positions(bvh: Bvh) -> Array:
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
