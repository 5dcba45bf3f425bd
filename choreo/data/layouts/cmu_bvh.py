"""The CMU motion capture database converted to BVH: `<subject>_<take>.bvh`, at any depth of folders.

Layout of the conversions by B. Hahne (cgspeed.com, READMEFIRST of 2008 and 2009): the first frame is an added T pose,
most takes have 120 frames per second, y is up, and `cmu-mocap-index-text.txt` has lines of take name, tab and
description. The motions are free to use and may not be resold (mocap.cs.cmu.edu).
"""

import re
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.data.layouts.listing import regular_files
from choreo.data.layouts.packs import LICENCES, family_of, group_of
from choreo.data.layouts.recording import LEG_METRES, Recording, Sentence, Skipped, leg_length
from choreo.motion.formats.bvh import read_bvh
from choreo.motion.skeleton import BONE_LENGTHS, JOINT_NAMES, L_ANKLE, L_KNEE, PELVIS

INDEX: Final = "cmu-mocap-index-text.txt"
MAX_INDEX_CHARS: Final = 2**21
UNITS: Final = (25.4e-3 / 0.45, 0.01, 0.0254, 0.001, 1.0)
"""Metres per unit of a file: CMU's own (inches / 0.45), centimetres, inches, millimetres, metres."""
MAX_JOINT_SPEED: Final = 10.0
"""A joint that leaves a T pose faster than this, m/s relative to the pelvis, was not recorded doing so."""
STRAIGHT: Final = 0.95
"""Arms are spread when the distance of the wrists is at least this share of the length along the arms."""
_ARMS: Final = [JOINT_NAMES.index(f"{side}_{part}") for side, part in (
    ("left", "wrist"), ("left", "elbow"), ("left", "shoulder"), ("right", "shoulder"), ("right", "elbow"),
    ("right", "wrist"))]  # fmt: skip
PARTNERS: Final = {"19": "18", "21": "20", "23": "22", "34": "33"}
"""Subjects recorded in the same takes as another; `choreo.data.layouts.packs.group_of` knows of 60 and 61."""

_TAKE: Final = re.compile(r"\d{2,3}_\d{2,3}")
_ROW: Final = re.compile(r"\s*(\d{2,3}_\d{2,3})\s+(\S.*)")


class CmuBvh:
    """A folder of takes."""

    name = "cmu-bvh"

    def __init__(self, root: Path) -> None:
        self._paths: dict[str, Path] = {}
        self.skipped: list[Skipped] = []
        for path in regular_files(root, "**/*.bvh"):
            name = path.relative_to(root).as_posix()
            if not _TAKE.fullmatch(path.stem):
                self.skipped.append(Skipped(name, "is not named <subject>_<take>.bvh"))
            elif path.stem in self._paths:
                self.skipped.append(Skipped(name, "is a second file of its take"))
            else:
                self._paths[path.stem] = path
        self._descriptions = _descriptions(root)
        self.keys = tuple(self._paths)
        self.published: dict[str, tuple[str, ...]] = {}

    @staticmethod
    def recognised(root: Path) -> bool:
        """Whether there is a file named as a take."""
        return any(_TAKE.fullmatch(path.stem) for path in regular_files(root, "**/*.bvh"))

    def group_of(self, key: str) -> str:
        """The take, which partners share."""
        subject, take = key.split("_")
        return f"{PARTNERS[subject]}_{take}" if subject in PARTNERS else group_of(key)

    def recording(self, key: str) -> Recording:
        """Read one take.

        Raises:
            InvalidInput: not a BVH file of a human, or broken.
            OSError: it cannot be read.
        """
        motion = read_bvh(self._paths[key], key, scale=1.0, fps=None)
        positions = without_t_pose(in_metres(motion.positions), motion.fps)
        described = self._descriptions.get(key)
        return Recording(
            key=key,
            group=self.group_of(key),
            family=family_of(key),
            positions=positions,
            fps=motion.fps,
            licence=LICENCES["cmu"],
            sentences=(Sentence(described),) if described else (),
        )


def in_metres(positions: NDArray[np.floating]) -> NDArray[np.float64]:
    """Positions (T, 22, 3) in one of `UNITS` to metres, by the unit that gives the likeliest human legs.

    Where none gives human legs, they are returned as they are, and `to_clip` refuses them.
    """
    legs, canonical = leg_length(positions), float(BONE_LENGTHS[[L_KNEE, L_ANKLE]].sum())
    fitting = [unit for unit in UNITS if LEG_METRES[0] <= legs * unit <= LEG_METRES[1]]
    unit = min(fitting, key=lambda u: abs(np.log(legs * u / canonical)), default=1.0)
    return np.asarray(positions, np.float64) * unit


def without_t_pose(positions: NDArray[np.floating], fps: float) -> NDArray[np.float64]:
    """Drop the first frame of (T, 22, 3) if it is a T pose that no body could leave that fast."""
    p = np.asarray(positions, np.float64)
    if len(p) < 2:
        return p
    around = p[:2] - p[:2, [PELVIS]]
    left_at = np.linalg.norm(around[1] - around[0], axis=-1).max() * fps
    along = np.linalg.norm(np.diff(p[0, _ARMS], axis=0), axis=-1).sum()
    spread = np.linalg.norm(p[0, _ARMS[0]] - p[0, _ARMS[-1]]) >= STRAIGHT * along
    return p[1:] if spread and left_at > MAX_JOINT_SPEED else p


def _descriptions(root: Path) -> dict[str, str]:
    path = next(iter(regular_files(root, f"**/{INDEX}")), None)
    if path is None:
        return {}
    with path.open(encoding="utf-8", errors="replace") as file:
        rows = (_ROW.fullmatch(line) for line in file.read(MAX_INDEX_CHARS).splitlines())
        return {row[1]: row[2].strip() for row in rows if row}
