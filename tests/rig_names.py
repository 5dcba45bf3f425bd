"""What joints are called in the rigs of other programs, with the joints besides that these rigs have."""

from collections.abc import Mapping

from choreo.motion.formats.joint_profiles import UE5, UNITY, VRM
from choreo.motion.skeleton import JOINT_NAMES

Extra = tuple[str, str, tuple[float, float, float]]
SIDES = (("left", "L", 1), ("right", "R", -1))


def _mirrored(extras: list[tuple[str, str, tuple[float, float, float]]]) -> list[Extra]:
    """Each for both sides: `{side}`, `{S}` and `{s}` in names and parts, x mirrored."""
    return [
        (
            name.format(side=side, Side=side.title(), S=letter, s=letter.lower()),
            part.format(side=side),
            (sign * x, y, z),
        )
        for side, letter, sign in SIDES
        for name, part, (x, y, z) in extras
    ]


MIXAMO = dict(zip(JOINT_NAMES, (f"mixamorig:{name}" for name in (
    "Hips", "LeftUpLeg", "RightUpLeg", "Spine", "LeftLeg", "RightLeg", "Spine1", "LeftFoot", "RightFoot", "Spine2",
    "LeftToeBase", "RightToeBase", "Neck", "LeftShoulder", "RightShoulder", "Head", "LeftArm", "RightArm",
    "LeftForeArm", "RightForeArm", "LeftHand", "RightHand",
)), strict=True))  # fmt: skip
MIXAMO_EXTRAS = [
    ("mixamorig:HeadTop_End", "head", (0, 0.2, 0)),
    *_mirrored([
        ("mixamorig:{Side}Toe_End", "{side}_foot", (0, -0.02, 0.06)),
        ("mixamorig:{Side}HandThumb1", "{side}_wrist", (0.03, 0, 0.03)),
        ("mixamorig:{Side}HandIndex1", "{side}_wrist", (0.08, 0, 0.02)),
    ]),
]  # fmt: skip
UNITY_NAMES = dict(zip(JOINT_NAMES, UNITY.names, strict=True))
UNITY_EXTRAS = [
    ("Jaw", "head", (0, 0, 0.08)),
    *_mirrored([("{Side}Eye", "head", (0.03, 0.08, 0.08)), ("{Side}IndexProximal", "{side}_wrist", (0.08, 0, 0.02))]),
]
UE5_NAMES = dict(zip(JOINT_NAMES, UE5.names, strict=True))
UE5_EXTRAS = [
    ("ik_foot_root", "pelvis", (0, -0.9, 0)),
    ("ik_hand_root", "pelvis", (0, -0.9, 0)),
    ("center_of_mass", "pelvis", (0, 0, 0)),
    *_mirrored([
        ("ik_foot_{s}", "pelvis", (0.1, -0.85, 0)),
        ("ik_hand_{s}", "pelvis", (0.5, 0.5, 0)),
        ("thigh_twist_01_{s}", "{side}_hip", (0, -0.2, 0)),
        ("calf_twist_01_{s}", "{side}_knee", (0, -0.2, 0)),
        ("calf_correctiveRoot_{s}", "{side}_knee", (0, 0, 0)),
        ("upperarm_twist_01_{s}", "{side}_shoulder", (0.1, 0, 0)),
        ("lowerarm_twist_01_{s}", "{side}_elbow", (0.1, 0, 0)),
        ("clavicle_out_{s}", "{side}_collar", (0.05, 0, 0)),
        ("ankle_bck_{s}", "{side}_ankle", (0, 0, -0.05)),
        ("wrist_inner_{s}", "{side}_wrist", (0, 0, 0.02)),
        ("thumb_01_{s}", "{side}_wrist", (0.02, 0, 0.03)),
    ]),
]  # fmt: skip
METARIG = {"pelvis": "spine", "spine1": "spine.001", "spine2": "spine.002", "spine3": "spine.003"}
METARIG |= {"neck": "spine.004", "head": "spine.006"}
for _side, _letter, _ in SIDES:
    METARIG |= {
        f"{_side}_{part}": f"{bone}.{_letter}"
        for part, bone in (
            ("hip", "thigh"), ("knee", "shin"), ("ankle", "foot"), ("foot", "toe"), ("collar", "shoulder"),
            ("shoulder", "upper_arm"), ("elbow", "forearm"), ("wrist", "hand"),
        )
    }  # fmt: skip
METARIG_EXTRAS = [
    ("face", "head", (0, 0.02, 0.02)),
    ("nose", "head", (0, 0.05, 0.09)),
    ("jaw", "head", (0, 0, 0.03)),
    *_mirrored([
        ("pelvis.{S}", "pelvis", (0.01, 0.01, 0)),
        ("breast.{S}", "spine3", (0.08, 0, 0.05)),
        ("heel.02.{S}", "{side}_ankle", (0, -0.07, -0.05)),
        ("palm.01.{S}", "{side}_wrist", (0.03, 0, 0.02)),
        ("f_index.01.{S}", "{side}_wrist", (0.08, 0, 0.02)),
        ("thumb.01.{S}", "{side}_wrist", (0.02, 0, 0.03)),
        ("ear.{S}", "head", (0.05, 0.05, 0)),
        ("forehead.{S}", "head", (0.02, 0.12, 0.06)),
    ]),
]  # fmt: skip
RIGIFY = {part: f"DEF-{bone}" for part, bone in METARIG.items()}
RIGIFY_EXTRAS = [
    *((f"DEF-{name}", part, offset) for name, part, offset in METARIG_EXTRAS),
    *_mirrored([
        ("DEF-thigh.{S}.001", "{side}_hip", (0, -0.2, 0)),
        ("DEF-upper_arm.{S}.001", "{side}_shoulder", (0.13, 0, 0)),
        ("ORG-thigh.{S}", "pelvis", (0.09, -0.08, 0)),
        ("ORG-shin.{S}", "pelvis", (0.09, -0.5, 0)),
        ("ORG-foot.{S}", "pelvis", (0.09, -0.88, 0)),
        ("MCH-foot_roll.{S}", "pelvis", (0.09, -0.88, 0)),
        ("thigh_ik.{S}", "pelvis", (0.09, -0.08, 0)),
        ("foot_ik.{S}", "pelvis", (0.09, -0.88, 0)),
    ]),
]  # fmt: skip
VROID = dict(zip(JOINT_NAMES, (f"J_Bip_{name}" for name in (
    "C_Hips", "L_UpperLeg", "R_UpperLeg", "C_Spine", "L_LowerLeg", "R_LowerLeg", "C_Chest", "L_Foot", "R_Foot",
    "C_UpperChest", "L_ToeBase", "R_ToeBase", "C_Neck", "L_Shoulder", "R_Shoulder", "C_Head", "L_UpperArm",
    "R_UpperArm", "L_LowerArm", "R_LowerArm", "L_Hand", "R_Hand",
)), strict=True))  # fmt: skip
NAMELESS = {part: f"b{number}" for number, part in enumerate(JOINT_NAMES)}
CONVENTIONS: Mapping[str, tuple[Mapping[str, str], list[Extra]]] = {
    "mixamo": (MIXAMO, MIXAMO_EXTRAS),
    "unity": (UNITY_NAMES, UNITY_EXTRAS),
    "ue5": (UE5_NAMES, UE5_EXTRAS),
    "metarig": (METARIG, METARIG_EXTRAS),
    "rigify": (RIGIFY, RIGIFY_EXTRAS),
    "vroid": (VROID, [("J_Sec_Hair1_01", "head", (0, 0.1, -0.1))]),
    "nameless": (NAMELESS, []),
}


def vrm_bones(index: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """`humanBones` of VRM 1.0 for nodes by their SMPL name."""
    return {bone: {"node": index[part]} for bone, part in zip(VRM.names, JOINT_NAMES, strict=True) if part in index}
