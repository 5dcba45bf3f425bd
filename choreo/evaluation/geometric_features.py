"""Geometric motion features: the share of a motion's frames in which each of 32 relations between body parts holds.

Mueller, Roeder and Clausen 2005 in the selection of fairmotion (its "manual" features), on which AIST++, Bailando,
EDGE and Lodge report FID_g and Dist_g. Thresholds are in multiples of the humerus length or of the width of shoulders
or hips; y is up.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from choreo.evaluation.checks import Array, frame_rate, moving
from choreo.evaluation.published_rate import AIST_FPS, at_60_fps
from choreo.motion.skeleton import BONE_LENGTHS, FPS, JOINT_NAMES, MIRROR, REST_OFFSETS

LEGACY_SPEED: Final = 2
"""The published code divides by 1/120 s between frames that are 1/60 s apart."""
UP: Final = np.array([0.0, 1.0, 0.0])
TURNED: Final = frozenset({"plane", "through"})
"""Relations to a plane, whose normal changes sign under reflection unless two of the points are exchanged."""


@dataclass(frozen=True)
class _Body:
    """Lengths that scale the thresholds, metres."""

    humerus: float
    shoulders: float
    hips: float


CANONICAL: Final = _Body(
    humerus=float(BONE_LENGTHS[JOINT_NAMES.index("left_elbow")]),
    shoulders=float(2 * (REST_OFFSETS[13] + REST_OFFSETS[16])[0]),
    hips=float(2 * REST_OFFSETS[1][0]),
)
PUBLISHED: Final = _Body(humerus=0.2568381, shoulders=0.3908484, hips=0.1192471)
"""The mean SMPL body, whose dimensions the AIST++ code contains as constants."""


@dataclass(frozen=True)
class _Relation:
    """A quantity computed from some joints in each frame, and the open interval in which the relation holds."""

    kind: str
    joints: tuple[int, ...]
    low: float
    high: float = np.inf


def geometric_features(positions: NDArray[Any], fps: float = FPS, legacy: bool = False) -> Array:
    """Features (32,) of one motion, each in [0, 1], over the frames from the second on.

    Args:
        positions: (T, 22, 3) metres.
        fps: frames per second.
        legacy: reproduce the published code, for comparison with published tables only. It resamples to 60 fps (cubic
            splines), doubles all speeds, uses the dimensions of the mean SMPL body for every body, ignores the fourth
            joint of a relative velocity, so that "hand moves up" means "chest moves up", and reverses two relations on
            the right side of the body. By default all of this is corrected.
    Raises:
        InvalidInput: wrong shape, NaN, infinity, or fewer than two frames.
    """
    rate = frame_rate(fps)
    p = moving(positions)
    if legacy:
        p, rate = at_60_fps(p, rate), AIST_FPS * LEGACY_SPEED
    now, velocity = p[1:], np.diff(p, axis=0) * rate
    relations = _relations(PUBLISHED if legacy else CANONICAL)
    if legacy:
        for i, names in LEGACY_JOINTS.items():
            relations[i] = _Relation(relations[i].kind, _joints(names), relations[i].low)
    with np.errstate(invalid="ignore", divide="ignore"):  # joints that coincide give NaN, and no relation holds
        numbers = np.stack([_number(r, now, velocity) for r in relations])
    low, high = np.array([(r.low, r.high) for r in relations]).T[..., None]
    return np.asarray(((numbers > low) & (numbers < high)).mean(axis=1))


def _number(relation: _Relation, p: Array, v: Array) -> Array:
    """The quantity of a relation in each frame (T - 1,): metres, metres per second or degrees."""
    j = relation.joints
    match relation.kind:
        case "along":  # speed of the fourth relative to the third in the direction from the first to the second
            return _component(v[:, j[3]] - v[:, j[2]], p[:, j[1]] - p[:, j[0]])
        case "through":  # speed of the fourth relative to the first, through the plane of the first three
            return _component(v[:, j[3]] - v[:, j[0]], np.cross(p[:, j[2]] - p[:, j[0]], p[:, j[1]] - p[:, j[0]]))
        case "plane":  # distance of the fourth from the plane of the first three
            return _component(p[:, j[3]] - p[:, j[0]], np.cross(p[:, j[2]] - p[:, j[0]], p[:, j[1]] - p[:, j[0]]))
        case "beyond":  # how far the fourth is beyond the third in the direction from the first to the second
            return _component(p[:, j[3]] - p[:, j[2]], p[:, j[1]] - p[:, j[0]])
        case "angle":  # between the line from the first to the second and that from the third to the fourth
            return _angle(p[:, j[1]] - p[:, j[0]], p[:, j[3]] - p[:, j[2]])
        case "tilt":  # between the line from the first to the second and the vertical
            return _angle(p[:, j[1]] - p[:, j[0]], UP)
        case "height":  # above the lowest joint
            return np.asarray(p[:, j[0], 1] - p[..., 1].min(axis=1))
        case _:  # "speed"
            return np.asarray(np.linalg.norm(v[:, j[0]], axis=-1))


def _component(vector: Array, direction: Array) -> Array:
    return np.asarray((vector * direction).sum(axis=-1) / np.linalg.norm(direction, axis=-1))


def _angle(first: Array, second: Array) -> Array:
    cosine = _component(first, second) / np.linalg.norm(first, axis=-1)
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def _relations(body: _Body) -> list[_Relation]:
    h = body.humerus
    both = _right_and_left
    return [
        *both("through", "neck left_hip right_hip right_wrist", 1.8 * h),  # hand moves forwards
        *both("beyond", "spine3 neck neck right_wrist", 0.2 * h),  # hand above the neck
        *both("along", "spine1 spine3 spine3 right_wrist", 1.8 * h),  # hand moves up
        *both("angle", "right_elbow right_shoulder right_elbow right_wrist", 0, 110),  # elbow bent
        _Relation("beyond", _joints("left_shoulder right_shoulder left_wrist right_wrist"), 2.5 * body.shoulders),
        _Relation("along", _joints("left_wrist right_wrist right_wrist left_wrist"), 1.4 * h),  # hands approach
        *both("along", "right_wrist pelvis right_wrist pelvis", 1.4 * h),  # hand moves away from the root
        *both("speed", "right_wrist", 2.5 * h),
        *both("plane", "pelvis left_foot left_hip right_ankle", 0.38 * h),  # foot behind the other leg
        *both("height", "right_ankle", 1.2 * h),
        _Relation("beyond", _joints("left_hip right_hip left_ankle right_ankle"), 2.1 * body.hips),  # feet apart
        *both("angle", "right_knee right_hip right_knee right_ankle", 0, 110),  # knee bent
        *both("speed", "right_ankle", 2.5 * h),
        *both("angle", "neck pelvis right_shoulder right_elbow", 25, 180),  # upper arm away from the trunk
        *both("angle", "neck pelvis right_hip right_knee", 50, 180),  # thigh away from the trunk
        _Relation("plane", _joints("right_ankle neck left_ankle pelvis"), 0.5 * h),  # hips out of the frontal plane
        _Relation("tilt", _joints("neck pelvis"), 70, 110),  # trunk level
        *both("height", "right_wrist", -np.inf, 1.2 * h),  # hand low
        _Relation("speed", _joints("pelvis"), 2.3 * h),
    ]


LEGACY_JOINTS: Final = {
    0: "neck right_hip left_hip right_wrist",
    4: "spine1 spine3 spine1 spine3",
    5: "spine1 spine3 spine1 spine3",
    9: "left_wrist right_wrist left_wrist right_wrist",
    10: "right_wrist pelvis right_wrist left_wrist",
    11: "left_wrist pelvis left_wrist right_wrist",
    14: "pelvis left_hip left_foot right_ankle",
}
"""Joints that the published code uses instead, by position in the table."""


def _right_and_left(kind: str, names: str, low: float, high: float = np.inf) -> list[_Relation]:
    right = _joints(names)
    left = tuple(MIRROR[j] for j in right)
    if kind in TURNED:
        left = (left[0], left[2], left[1], left[3])
    return [_Relation(kind, right, low, high), _Relation(kind, left, low, high)]


def _joints(names: str) -> tuple[int, ...]:
    return tuple(JOINT_NAMES.index(name) for name in names.split())
