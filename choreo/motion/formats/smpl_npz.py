"""Archives of SMPL, SMPL-H and SMPL-X poses, as AMASS and those that follow it publish them.

    SMPL-H release   poses (N, 156), trans, mocap_framerate
    SMPL-X release   poses (N, 165), root_orient (N, 3), pose_body (N, 63), pose_hand, trans, mocap_frame_rate
    SMPL-X fits      global_orient, body_pose, transl, fps; or fullpose

    of this project  the first two together; `dancers` (D,) names several, and poses and trans are (D, N, ...)

Poses are rotation vectors, flat or (N, J, 3), or rotation matrices. Joint positions are computed without a body model
(`smpl_poses`), so gender and betas are not read.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.errors import InvalidInput
from choreo.motion.clip import check_fps
from choreo.motion.formats.npz import NpzArchive
from choreo.motion.formats.smpl_poses import rotation_vectors, smpl_rotations
from choreo.motion.kinematics import forward_kinematics
from choreo.motion.skeleton import NUM_JOINTS

WHOLE: Final = ("poses", "fullpose", "full_pose", "smpl_poses")
"""Members with the rotations of all joints, the root's first."""
ROOT: Final = ("root_orient", "global_orient", "root_pose")
BODY: Final = ("pose_body", "body_pose")
"""Members with the rotations of the other joints, 21 or more."""
TRANSLATION: Final = ("trans", "transl", "translation", "smpl_trans")
RATE: Final = ("mocap_framerate", "mocap_frame_rate", "fps", "framerate", "frame_rate", "mocap_fps")


@dataclass(frozen=True)
class SmplMotion:
    """What an archive holds.

    Attributes:
        positions: (T, 22, 3) metres, in the archive's axes.
        rotations: (T, 22, 3, 3), local, of which the positions are the forward kinematics.
        fps: frames per second.
        convention: the axis that such archives have up: z in the releases of AMASS, y in most others.
        certain: whether it is AMASS's spelling, and the convention a rule.
    """

    positions: NDArray[np.float64]
    rotations: NDArray[np.float64]
    fps: float
    convention: str
    certain: bool


def is_smpl(archive: NpzArchive) -> bool:
    """Whether an archive has members for poses and translations."""
    posed = _first(archive, WHOLE) or (_first(archive, ROOT) and _first(archive, BODY))
    return bool(posed and _first(archive, TRANSLATION))


def read_smpl(source: Path | NpzArchive, field: str = "motion") -> SmplMotion:
    """Read an archive of one dancer in any of the spellings.

    Raises:
        InvalidInput: a member is missing or unusable, or there are several dancers; the message names it.
        OSError: the path cannot be read.
    """
    archive = source if isinstance(source, NpzArchive) else NpzArchive(source, field)
    dancers, names = read_smpl_dancers(archive, field)
    if len(dancers) > 1:
        raise InvalidInput(field, f"must be one dancer, got {len(dancers)}: {', '.join(names)}"[:200])
    return dancers[0]


def read_smpl_dancers(archive: NpzArchive, field: str = "motion") -> tuple[list[SmplMotion], tuple[str, ...]]:
    """All dancers of an archive, and their names; no names in an archive of one dancer.

    Raises:
        InvalidInput: a member is missing or unusable; the message names it.
    """
    rate = _first(archive, RATE)
    if rate is None:
        raise InvalidInput(field, f"does not say its frame rate: none of {', '.join(RATE)} is in it")
    given = archive.numbers(rate)
    fps = float(given.reshape(-1)[0]) if given.size == 1 else float("nan")
    check_fps(fps, f"{field}.{rate}")
    translation = _first(archive, TRANSLATION)
    if translation is None:
        raise InvalidInput(field, f"has no translations: none of {', '.join(TRANSLATION)} is in it")
    trans, amass, names = archive.numbers(translation), rate.startswith("mocap_"), archive.dancers()
    if not names:
        trans = trans.reshape(len(trans), -1) if trans.ndim == 3 else trans
        return [_dancer(_poses(archive, field), trans, fps, amass, field)], ()
    poses = archive.numbers("poses")
    if poses.ndim != 3 or trans.ndim != 3 or not len(poses) == len(trans) == len(names):
        raise InvalidInput(
            field,
            f"has poses of shape {poses.shape} and {translation} of shape {trans.shape} for {len(names)} dancers",
        )
    return [_dancer(p, t, fps, amass, field) for p, t in zip(poses, trans, strict=True)], names


def _dancer(
    poses: NDArray[np.floating], trans: NDArray[np.floating], fps: float, amass: bool, field: str
) -> SmplMotion:
    local = smpl_rotations(poses, trans, field)
    return SmplMotion(forward_kinematics(trans, local), local, fps, "z" if amass else "y", amass)


def _poses(archive: NpzArchive, field: str) -> NDArray[np.float64]:
    """Rotation vectors (T, 3 J) of the root and the body."""
    whole, root, body = (_first(archive, names) for names in (WHOLE, ROOT, BODY))
    if whole is not None:
        return rotation_vectors(archive.numbers(whole), None, f"{field}.{whole}")
    if root is None or body is None:
        raise InvalidInput(field, f"has no poses: neither {', '.join(WHOLE)}, nor a root and a body")
    first = rotation_vectors(archive.numbers(root), 1, f"{field}.{root}")
    rest = rotation_vectors(archive.numbers(body), None, f"{field}.{body}")
    if first.shape[1] != 3 or len(first) != len(rest) or rest.shape[1] < 3 * (NUM_JOINTS - 1):
        raise InvalidInput(
            field,
            f"has {root} of shape {archive.shape(root)} and {body} of shape {archive.shape(body)}; the body needs "
            f"at least {NUM_JOINTS - 1} joints and as many frames as the root",
        )
    return np.concatenate([first, rest], axis=1)


def _first(archive: NpzArchive, names: tuple[str, ...]) -> str | None:
    return next((name for name in names if name in archive), None)
