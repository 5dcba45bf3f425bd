"""A performance on the character of a file: read, map, retarget, and write the same file again."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from choreo.errors import InvalidInput
from choreo.motion.performance import Performance
from choreo.rigs.body import Body, body_of, stands_along
from choreo.rigs.bvh_rig import BvhRig
from choreo.rigs.glb_rig import GlbRig
from choreo.rigs.joint_map import GivenMap, JointMap, map_joints
from choreo.rigs.retarget import retarget
from choreo.rigs.rig import MAX_RIG_BYTES, RigMotion

RIG_SUFFIXES: Final = (".glb", ".vrm", ".bvh")


@dataclass(frozen=True)
class Character:
    """A character that was read and whose joints were found.

    Attributes:
        suffix: of its file, one of `RIG_SUFFIXES`.
        mapping: part of the body to the names of its joints, as a map file has them.
        scale: file units that a metre of the dance becomes.
        notes: what was guessed.
        digest: SHA-256 of the file and the mapping, 64 hex digits.
    """

    suffix: str
    mapping: dict[str, Any]
    scale: float
    notes: tuple[str, ...]
    digest: str
    _file: GlbRig | BvhRig
    _joints: JointMap
    _body: Body

    def dancing(self, performance: Performance) -> bytes:
        """The bytes of its file with the performance in it: in a GLB, one animation a dancer.

        Raises:
            InvalidInput: several dancers and a BVH file, or a joint of one that cannot turn.
        """
        several = len(performance.dancers) > 1
        dances: dict[str, RigMotion] = {}
        for name, dancer in zip(performance.names, performance.dancers, strict=True):
            dances[f"dance-{name}" if several else "dance"] = retarget(dancer, self._file.rig, self._joints, self._body)
        meta = performance.meta
        extras: dict[str, Any] = {"fps": performance.fps, "num_frames": performance.num_frames, "meta": meta}
        return self._file.animated(dances, performance.fps, extras)


def read_character(path: Path, given: GivenMap = GivenMap(), field: str = "rig") -> Character:
    """Read a file by its suffix, which is one of `RIG_SUFFIXES`.

    Raises:
        InvalidInput: another suffix, it cannot be read, or see `character_of`.
    """
    suffix = path.suffix.lower()
    if suffix not in RIG_SUFFIXES:
        raise InvalidInput(field, f"must end with one of {', '.join(RIG_SUFFIXES)}, got {path.name[-32:]!r}")
    try:
        if not path.is_file():
            raise InvalidInput(field, f"{path} is not a file")
        with path.open("rb") as file:
            data = file.read(MAX_RIG_BYTES + 1)
    except OSError as error:
        raise InvalidInput(field, f"{path} cannot be read: {error.strerror}") from error
    return character_of(data, suffix, given, field)


def character_of(data: bytes, suffix: str, given: GivenMap = GivenMap(), field: str = "rig") -> Character:
    """The character of a file's bytes.

    Raises:
        InvalidInput: not such a file, damaged, beyond a limit, a joint that cannot be found, or a rest pose that does
            not stand; the field is `map` where the user's map is at fault.
    """
    file: GlbRig | BvhRig = BvhRig(data, field) if suffix == ".bvh" else GlbRig(data, field)
    joints = map_joints(file.rig, given, field)
    if suffix == ".bvh" and stands_along(file.rig, joints) is None:  # many recordings begin with a T pose
        posed = BvhRig(data, field, first_frame=True)
        file = posed if stands_along(posed.rig, joints) else file
    body = body_of(file.rig, joints, field)
    notes = tuple(dict.fromkeys((*file.notes, *joints.notes, *body.notes)))
    mapping = joints.document(file.rig)
    digest = hashlib.sha256(data + json.dumps(mapping, sort_keys=True).encode()).hexdigest()
    return Character(suffix, mapping, body.scale, notes, digest, file, joints, body)
