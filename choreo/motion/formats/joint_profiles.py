"""What the 22 joints are called in other programs, so that their importers map a skeleton by themselves.

The rest pose is the canonical T pose in every profile. Joints of a profile that have no counterpart here are left out:
fingers, eyes and twist bones of all, the second neck and two of five spine bones of UE5.

Sources: Mixamo's rig; the humanoid bones of the VRM specification (VRMC_vrm 1.0); Unity's `HumanBodyBones`; Epic's
UE5 mannequin.
"""

from dataclasses import dataclass
from typing import Final

from choreo.errors import InvalidInput
from choreo.motion.skeleton import JOINT_NAMES


@dataclass(frozen=True)
class JointProfile:
    """Names of the 22 joints.

    Attributes:
        name: of the profile, on the command line.
        names: of the joints, in the order of SMPL-22.
        namespace: before every name in the file of one dancer, with its colon.
    """

    name: str
    names: tuple[str, ...]
    namespace: str = ""


SMPL: Final = JointProfile("smpl", JOINT_NAMES)
MIXAMO: Final = JointProfile("mixamo", (
    "Hips", "LeftUpLeg", "RightUpLeg", "Spine", "LeftLeg", "RightLeg", "Spine1", "LeftFoot", "RightFoot", "Spine2",
    "LeftToeBase", "RightToeBase", "Neck", "LeftShoulder", "RightShoulder", "Head", "LeftArm", "RightArm",
    "LeftForeArm", "RightForeArm", "LeftHand", "RightHand",
), "mixamorig:")  # fmt: skip
VRM: Final = JointProfile("vrm", (
    "hips", "leftUpperLeg", "rightUpperLeg", "spine", "leftLowerLeg", "rightLowerLeg", "chest", "leftFoot",
    "rightFoot", "upperChest", "leftToes", "rightToes", "neck", "leftShoulder", "rightShoulder", "head",
    "leftUpperArm", "rightUpperArm", "leftLowerArm", "rightLowerArm", "leftHand", "rightHand",
))  # fmt: skip
UNITY: Final = JointProfile("unity", tuple(name[0].upper() + name[1:] for name in VRM.names))
UE5: Final = JointProfile("ue5", (
    "pelvis", "thigh_l", "thigh_r", "spine_01", "calf_l", "calf_r", "spine_03", "foot_l", "foot_r", "spine_05",
    "ball_l", "ball_r", "neck_01", "clavicle_l", "clavicle_r", "head", "upperarm_l", "upperarm_r", "lowerarm_l",
    "lowerarm_r", "hand_l", "hand_r",
))  # fmt: skip

PROFILES: Final = (SMPL, MIXAMO, VRM, UNITY, UE5)
"""All profiles; the first is the default."""


def profile_named(name: str, field: str = "skeleton") -> JointProfile:
    """The profile of a name in any case.

    Raises:
        InvalidInput: there is none.
    """
    wanted = name.strip().lower()
    for profile in PROFILES:
        if profile.name == wanted:
            return profile
    raise InvalidInput(field, f"must be one of {', '.join(p.name for p in PROFILES)}, got {name[:32]!r}")
