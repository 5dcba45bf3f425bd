"""SMPL-22 joints from the 17 keypoints of COCO (Lin et al. 2014), which have neither spine nor toes."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.motion import rotations as rot
from choreo.motion.kinematics import forward_kinematics
from choreo.motion.skeleton import (
    CHEST,
    HEAD,
    JOINT_NAMES,
    L_HIP,
    L_SHOULDER,
    LEGS,
    NECK,
    NUM_JOINTS,
    PELVIS,
    R_HIP,
    R_SHOULDER,
    REST_OFFSETS,
    SPINE1,
    SPINE2,
)

Array = NDArray[np.float64]

KEYPOINTS: Final = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow",
    "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle",
    "right_ankle",
)  # fmt: skip
"""Order of the keypoints."""
DIRECT: Final = tuple((JOINT_NAMES.index(name), KEYPOINTS.index(name)) for name in KEYPOINTS[5:])
"""(SMPL joint, keypoint) of the limbs: shoulders, elbows, wrists, hips, knees and ankles are the keypoints."""
_LEFT_EAR, _RIGHT_EAR = KEYPOINTS.index("left_ear"), KEYPOINTS.index("right_ear")
_TRUNK: Final = (PELVIS, SPINE1, SPINE2, CHEST, NECK)
_REST: Final = forward_kinematics(np.zeros(3), np.broadcast_to(np.eye(3), (NUM_JOINTS, 3, 3)))


def smpl_joints(keypoints: NDArray[np.floating]) -> Array:
    """Keypoints (T, 17, 3), in any unit and with any up axis, to joints (T, 22, 3) in the same unit and axes.

    What COCO lacks is taken from the rest pose of the canonical skeleton:

    - pelvis, spine1 to spine3 and neck: as in the rest pose between the centres of hips and shoulders, in the trunk's
      frame (up: from hips to shoulders; side: both left-right lines) and at its size. The spine is therefore straight;
      the lines of hips and shoulders keep their twist.
    - collars: at the rest pose's fraction of the way from the centre of the shoulders to each of them, and as far below
      that line.
    - head: from the neck towards the centre of the ears, at the rest pose's distance.
    - toes: the foot keeps the rest pose's angle to its shank and the trunk's direction: the trunk's frame follows the
      shortest rotation from the shank's direction in the rest pose to its actual one.

    Nose and eyes are not used.
    """
    k = np.asarray(keypoints, np.float64)
    out = np.empty((len(k), NUM_JOINTS, 3))
    for joint, keypoint in DIRECT:
        out[:, joint] = k[:, keypoint]
    hips, shoulders = _middle(out, L_HIP, R_HIP), _middle(out, L_SHOULDER, R_SHOULDER)
    rest_hips, rest_shoulders = _middle(_REST, L_HIP, R_HIP), _middle(_REST, L_SHOULDER, R_SHOULDER)
    frame = _trunk_frame(out)
    scale = np.linalg.norm(shoulders - hips, axis=-1) / np.linalg.norm(rest_shoulders - rest_hips)
    # The rest pose's own line from hips to shoulders is not quite vertical: remove its frame.
    frame = frame @ np.swapaxes(_trunk_frame(_REST[None]), -1, -2)

    def placed(offset: Array, turn: Array = frame) -> Array:
        return (turn @ offset) * scale[:, None]

    for joint in _TRUNK:
        out[:, joint] = hips + placed(_REST[joint] - rest_hips)
    for collar, shoulder in ((13, L_SHOULDER), (14, R_SHOULDER)):
        share = (_REST[collar] - rest_shoulders)[0] / (_REST[shoulder] - rest_shoulders)[0]
        below = _REST[collar] - (rest_shoulders + share * (_REST[shoulder] - rest_shoulders))
        out[:, collar] = shoulders + share * (out[:, shoulder] - shoulders) + placed(below)
    ears = (k[:, _LEFT_EAR] + k[:, _RIGHT_EAR]) / 2
    length = float(np.linalg.norm(REST_OFFSETS[HEAD]))
    out[:, HEAD] = out[:, NECK] + rot.normalize(ears - out[:, NECK]) * length * scale[:, None]
    for _, knee, ankle, toe in LEGS:
        bent = rot.shortest_arc(frame @ REST_OFFSETS[ankle], out[:, ankle] - out[:, knee]) @ frame
        out[:, toe] = out[:, ankle] + placed(REST_OFFSETS[toe], bent)
    return out


def _middle(positions: Array, left: int, right: int) -> Array:
    return (positions[..., left, :] + positions[..., right, :]) / 2


def _trunk_frame(positions: Array) -> Array:
    """Axes (T, 3, 3) of the trunk as columns: left, up, forward."""
    p = positions
    up = rot.normalize(_middle(p, L_SHOULDER, R_SHOULDER) - _middle(p, L_HIP, R_HIP))
    across = (p[:, L_HIP] - p[:, R_HIP]) + (p[:, L_SHOULDER] - p[:, R_SHOULDER])
    forward = rot.normalize(np.cross(across, up))
    return np.stack([np.cross(up, forward), up, forward], axis=-1)
