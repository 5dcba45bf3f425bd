"""Which joint of a rig is which part of a human.

In this order: what the user says, what the file says itself (VRM), what names say, and the shape of the tree. Limbs and
head must be there; pelvis, spine, neck, collars and toes follow from them or are done without.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

import numpy as np

from choreo.errors import InvalidInput
from choreo.motion.formats.bvh_mapping import find_joints
from choreo.motion.formats.bvh_parser import Bvh
from choreo.rigs.blender_names import readings
from choreo.rigs.rig import Rig

LIMBS: Final = tuple(
    tuple(f"{side}_{part}" for part in parts)
    for side in ("left", "right")
    for parts in (("hip", "knee", "ankle"), ("shoulder", "elbow", "wrist"))
)
"""Three joints each, of which every one hangs on the one before it."""
REQUIRED: Final = (*(name for limb in LIMBS for name in limb), "head")
OPTIONAL: Final = ("pelvis", "left_collar", "right_collar", "left_foot", "right_foot")
CHAINS: Final = ("spine", "neck")
"""Parts that may be several joints, from below to above."""
_AHEAD: Final[dict[str, str]] = {f"{side}_foot": f"{side}_ankle" for side in ("left", "right")}
_ABOVE: Final[dict[str, str]] = {f"{side}_collar": f"{side}_shoulder" for side in ("left", "right")}


@dataclass(frozen=True)
class JointMap:
    """Joints of a rig by what they are.

    Attributes:
        joints: names of `REQUIRED` and `OPTIONAL` to joints.
        root: the joint that carries all others and travels.
        spine: joints above the root up to the one that arms and head hang on.
        neck: joints between that one and the head.
        notes: what was not read from names.
    """

    joints: Mapping[str, int]
    root: int
    spine: tuple[int, ...]
    neck: tuple[int, ...]
    notes: tuple[str, ...] = ()

    def document(self, rig: Rig) -> dict[str, Any]:
        """Names of the joints, as a map file has them."""
        named: dict[str, Any] = {"pelvis": rig.names[self.joints.get("pelvis", self.root)]}
        named |= {"spine": [rig.names[j] for j in self.spine], "neck": [rig.names[j] for j in self.neck]}
        return named | {name: rig.names[j] for name, j in sorted(self.joints.items()) if name != "pelvis"}


@dataclass(frozen=True)
class GivenMap:
    """What the user says: part to joint names; no names: there is no such joint."""

    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def map_joints(rig: Rig, given: GivenMap = GivenMap(), fieldname: str = "rig") -> JointMap:
    """Find the joints of a rig.

    Raises:
        InvalidInput: a joint is missing, or hangs in another place than it should; the message names it. The field is
            `map` where the user named what there is not.
    """
    said = {part: tuple(_named(rig, name, part) for name in names) for part, names in given.names.items()}
    first: InvalidInput | None = None
    for names in readings(rig.names, rig.parents):
        try:
            return _mapped(rig, names, said, fieldname)
        except InvalidInput as error:
            first = first or error
    assert first is not None
    raise first


def _mapped(rig: Rig, names: tuple[str, ...], said: dict[str, tuple[int, ...]], fieldname: str) -> JointMap:
    found, notes = dict(rig.told), tuple[str, ...]()
    error: InvalidInput | None = None
    try:
        if not set(REQUIRED) <= {*found, *said}:
            guessed = find_joints(_as_bvh(rig, names), fieldname)
            taken, notes = set(found.values()), tuple(guessed.notes)
            found |= {name: j for name, j in guessed.index.items() if name not in found and j not in taken}
    except InvalidInput as cause:
        error = cause
    for part, joints in said.items():
        found.pop(part, None)
        if joints and part not in CHAINS:
            found[part] = joints[0]
    for name in REQUIRED:
        if name not in found:
            if error is not None and not said:
                raise error
            raise InvalidInput(fieldname, f"has no joint for {name!r}: say in a map file which it is") from error
    return _arranged(rig, found, said, notes, fieldname)


def _arranged(
    rig: Rig, found: dict[str, int], said: dict[str, tuple[int, ...]], notes: tuple[str, ...], fieldname: str
) -> JointMap:
    for limb in LIMBS:
        for upper, lower in pairwise(limb):
            _check_hangs(rig, found, lower, upper, fieldname)
    root = rig.fork([found[name] for name in REQUIRED])
    if root is None:
        raise InvalidInput(fieldname, "has arms, legs and head that hang on no joint in common")
    pelvis = found.get("pelvis")
    if pelvis is not None and pelvis in rig.path(root):
        root = pelvis
    chest = rig.fork([found["left_shoulder"], found["right_shoulder"], found["head"]])
    chest = root if chest is None or root not in rig.path(chest) else chest
    spine = said.get("spine", _between(rig, chest, root, last=True))
    neck = said.get("neck", _between(rig, found["head"], chest, last=False))
    joints = {name: found[name] for name in (*REQUIRED, *OPTIONAL) if name in found}
    for foot, ankle in _AHEAD.items():
        if foot in joints and joints[ankle] not in rig.path(joints[foot])[1:]:
            del joints[foot]
    for collar, shoulder in _ABOVE.items():
        path = rig.path(joints[shoulder])[1:]
        if collar in joints and (joints[collar] not in path or joints[collar] in rig.path(chest)):
            del joints[collar]
    return JointMap(joints, root, spine, neck, notes)


def _check_hangs(rig: Rig, found: Mapping[str, int], lower: str, upper: str, fieldname: str) -> None:
    if found[upper] not in rig.path(found[lower])[1:]:
        below, above = rig.names[found[lower]][:32], rig.names[found[upper]][:32]
        raise InvalidInput(fieldname, f"has {lower} ({below!r}) that does not hang on {upper} ({above!r})")


def _between(rig: Rig, end: int, start: int, *, last: bool) -> tuple[int, ...]:
    """Joints on the way from `start`, without it, down to `end`, with it or without."""
    path = rig.path(end)
    inside = path[: path.index(start)] if start in path else path[:1]
    return tuple(reversed(inside if last else inside[1:]))


def _named(rig: Rig, name: str, part: str) -> int:
    places = [joint for joint, other in enumerate(rig.names) if other == name]
    if len(places) != 1:
        count = "no joint" if not places else f"{len(places)} joints"
        raise InvalidInput("map", f"says that {part} is {name[:32]!r}, and the rig has {count} of that name")
    return places[0]


def _as_bvh(rig: Rig, names: tuple[str, ...]) -> Bvh:
    """The rest pose with world axes for all joints, for what finds joints by names and by shape."""
    offsets = rig.positions.copy()
    for joint, parent in enumerate(rig.parents):
        if parent >= 0:
            offsets[joint] -= rig.positions[parent]
    count = len(rig.names)
    channels = (("Zrotation", "Xrotation", "Yrotation"),) * count
    return Bvh(names, rig.parents, offsets, channels, np.zeros((1, 3 * count)), 1.0)
