"""What the name of a joint says: its side and its part of the body, in whatever way a program writes them.

A name is split into words at capitals, digits and punctuation, after any namespace: `mixamorig:LeftUpLeg`, `thigh.L`,
`Bip01 L Thigh`, `J_Bip_L_UpperLeg`, `lThigh`, `thigh_l` and `lfemur` are the left thigh. Numbers say nothing, except
that a word which several joints share is the first one's.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

Side = Literal["left", "right"]

CENTRE: Final[dict[str, tuple[str, ...]]] = {
    "pelvis": ("pelvis", "hips", "hip"),
    "neck": ("neck", "lowerneck", "necklower", "neckbase"),
    "head": ("head", "skull"),
}
"""Words for the joints in the middle, in order of preference."""
LIMBS: Final[dict[str, tuple[str, ...]]] = {
    "hip": ("upleg", "upperleg", "thigh", "femur", "hip"),
    "knee": ("knee", "lowleg", "lowerleg", "shin", "calf", "tibia", "leg"),
    "ankle": ("ankle", "foot"),
    "foot": ("toebase", "toe", "toes", "ball", "forefoot", "foot"),
    "shoulder": ("uparm", "upperarm", "humerus", "arm", "shldr", "shoulder"),
    "elbow": ("elbow", "forearm", "lowarm", "lowerarm", "radius"),
    "wrist": ("wrist", "hand"),
    "collar": ("collar", "clavicle", "clav", "scapula", "shoulder"),
}
"""Words for the joints of a side, in order of preference. A joint is used once, so the order of the entries matters:
`LeftFoot` is the ankle unless there is a `LeftAnkle`, and `LeftShoulder` the shoulder unless there is a `LeftArm`."""
SHARED: Final = ("leg", "arm")
"""Words that say nothing where several joints of a side have them: `Leg1`, `Leg2`, `Leg3` are told by their place."""

_SIDES: Final[dict[str, Side]] = {
    "left": "left", "l": "left", "lft": "left", "lt": "left", "左": "left",
    "right": "right", "r": "right", "rgt": "right", "rt": "right", "右": "right",
}  # fmt: skip
_KNOWN: Final = {word for words in (*CENTRE.values(), *LIMBS.values()) for word in words}
_NOISE: Final = {"joint", "jnt", "jt", "bone", "bn", "bind", "skin", "bend", "def", "sk", "skel"}
"""Last words that say nothing."""
_NOT_BODY: Final = {
    "ik",
    "fk",
    "pole",
    "target",
    "ctrl",
    "control",
    "twist",
    "roll",
    "helper",
    "eff",
    "effector",
    "nub",
}
"""Words of joints that are there to steer or to smooth others."""
_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[左右]|[^\W\d_A-Za-z左右]+")


@dataclass(frozen=True)
class JointName:
    """What a name says.

    Attributes:
        side: or None for the middle, or where it says nothing.
        word: a word of `CENTRE` or `LIMBS`, or nothing.
        others: words around it that say nothing.
    """

    side: Side | None
    word: str
    others: int = 0


def read_names(names: Sequence[str]) -> list[JointName]:
    """What each of the names of a skeleton says; what all of them begin with is ignored."""
    plain = [re.split(r"[:|]", name)[-1] for name in names]
    shared = _shared([_joined(name) for name in plain])
    return [_read(name, shared) for name in plain]


def first_joints(names: Sequence[JointName], allowed: Sequence[bool]) -> dict[tuple[Side | None, str], int]:
    """The joint of each side and word: with the fewest words around it, then the first of the file."""
    found: dict[tuple[Side | None, str], list[int]] = {}
    for joint, (name, use) in enumerate(zip(names, allowed, strict=True)):
        if name.word and use:
            found.setdefault((name.side, name.word), []).append(joint)
    out = {}
    for key, joints in found.items():
        fewest = min(names[joint].others for joint in joints)
        joints = [joint for joint in joints if names[joint].others == fewest]
        if key[1] not in SHARED or len(joints) == 1:
            out[key] = joints[0]
    return out


def _read(name: str, shared: str) -> JointName:
    words = [word.lower() for word in _WORD.findall(name)]
    sides = {_SIDES[word] for word in words if word in _SIDES}
    side = sides.pop() if len(sides) == 1 else None
    body = [word for word in words if word not in _SIDES and not word.isdigit()]
    if sides or not _NOT_BODY.isdisjoint(body):
        return JointName(side, "")
    noise = 0
    while len(body) > 1 and body[-1] in _NOISE:
        body.pop()
        noise += 1
    tails = ["".join(body[first:]) for first in range(len(body))]
    for before, tail in enumerate(tails):
        if tail in _KNOWN:
            return JointName(side, tail, before + noise)
    for before, tail in enumerate(tails):
        glued = _unglued(tail, side) or _unglued(tail.removeprefix(shared), side)
        if glued is not None:
            return JointName(*glued, before + noise)
    return JointName(side, "")


def _unglued(text: str, side: Side | None) -> tuple[Side | None, str] | None:
    """Side and word of a text without gaps: `leftupleg`, `lhumerus`, `thighl`."""
    if text in _KNOWN:
        return side, text
    for mark in ("left", "right", "l", "r"):
        for word in (text.removeprefix(mark), text.removesuffix(mark)):
            if word != text and word in _KNOWN and side in (None, _SIDES[mark]):
                return _SIDES[mark], word
    return None


def _shared(names: Sequence[str]) -> str:
    """What several names all begin with."""
    first, last = min(names), max(names)
    length = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return first[:length] if len(names) > 1 else ""


def _joined(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalnum())
