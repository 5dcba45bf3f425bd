"""The CMU motion capture database converted to BVH: `<subject>_<take>.bvh`, at any depth of folders.

Layout of the conversions by B. Hahne (cgspeed.com, READMEFIRST of 2008 and 2009): the first frame is an added T pose,
most takes have 120 frames per second, y is up, and `cmu-mocap-index-text.txt` has lines of take name, tab and
description. The motions are free to use and may not be resold (mocap.cs.cmu.edu).
"""

import re
from pathlib import Path
from typing import Final

from choreo.data.layouts.listing import regular_files
from choreo.data.layouts.packs import LICENCES, family_of, group_of
from choreo.data.layouts.recording import Recording, Sentence, Skipped
from choreo.motion.formats.bvh import read_bvh
from choreo.motion.upright import AUTO

INDEX: Final = "cmu-mocap-index-text.txt"
MAX_INDEX_CHARS: Final = 2**21
PARTNERS: Final = {"19": "18", "21": "20", "23": "22", "34": "33"}
"""Subjects recorded in the same takes as another; `choreo.data.layouts.packs.group_of` knows of 60 and 61."""

_TAKE: Final = re.compile(r"\d{2,3}_\d{2,3}")
_ROW: Final = re.compile(r"\s*(\d{2,3}_\d{2,3})\s+(\S.*)")


class CmuBvh:
    """A folder of takes."""

    name = "cmu-bvh"

    def __init__(self, root: Path, up: str = AUTO) -> None:
        self._up = up
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
        motion = read_bvh(self._paths[key], key, fps=None, up=self._up)
        described = self._descriptions.get(key)
        return Recording(
            key=key,
            group=self.group_of(key),
            family=family_of(key),
            positions=motion.positions,
            fps=motion.fps,
            upright=True,
            notes=tuple(motion.meta.get("notes", ())),
            licence=LICENCES["cmu"],
            sentences=(Sentence(described),) if described else (),
        )


def _descriptions(root: Path) -> dict[str, str]:
    path = next(iter(regular_files(root, f"**/{INDEX}")), None)
    if path is None:
        return {}
    with path.open(encoding="utf-8", errors="replace") as file:
        rows = (_ROW.fullmatch(line) for line in file.read(MAX_INDEX_CHARS).splitlines())
        return {row[1]: row[2].strip() for row in rows if row}
