"""AMASS (Mahmood et al. 2019) and what is like it: archives of SMPL poses, `<data set>/<subject>/<take>_poses.npz`.

Layout as published by amass.is.tue.mpg.de and documented in nghorbani/amass; members and their spellings are those of
`choreo.motion.formats.smpl_npz`. A subject's `shape.npz` and the `*_stagei.npz` of the SMPL-X release hold no motion.
"""

from pathlib import Path
from typing import Final

from choreo.data.layouts.listing import regular_files
from choreo.data.layouts.recording import Recording, Skipped
from choreo.errors import InvalidInput
from choreo.motion.formats.npz import NpzArchive
from choreo.motion.formats.smpl_npz import is_smpl, read_smpl

LICENCE: Final = "amass-noncommercial"
MAX_PROBED: Final = 20
"""Archives that are opened to recognise the layout."""


class Amass:
    """A folder of archives, at any depth."""

    name = "amass"

    def __init__(self, root: Path) -> None:
        paths = [path for path in regular_files(root, "**/*.npz") if _may_move(path)]
        self._paths = {path.relative_to(root).with_suffix("").as_posix(): path for path in paths}
        self.keys = tuple(self._paths)
        self.skipped: list[Skipped] = []
        self.published: dict[str, tuple[str, ...]] = {}

    @staticmethod
    def recognised(root: Path) -> bool:
        """Whether one of the first archives has poses and translations."""
        paths = [path for path in regular_files(root, "**/*.npz") if _may_move(path)]
        return any((archive := opened(path)) is not None and is_smpl(archive) for path in paths[:MAX_PROBED])

    def group_of(self, key: str) -> str:
        """The take."""
        return key

    def recording(self, key: str) -> Recording:
        """Read one take.

        Raises:
            InvalidInput: not an archive of poses.
            OSError: it cannot be read.
        """
        motion = read_smpl(self._paths[key], key)
        return Recording(
            key=key,
            group=self.group_of(key),
            family="/".join(key.split("/")[:-1]) or self.name,
            positions=motion.positions,
            fps=motion.fps,
            licence=LICENCE,
            convention=motion.convention,
            certain=motion.certain,
        )


def opened(path: Path) -> NpzArchive | None:
    """A file as an archive; None if it is none."""
    try:
        return NpzArchive(path, path.name)
    except (InvalidInput, OSError):
        return None


def _may_move(path: Path) -> bool:
    return path.name != "shape.npz" and not path.name.endswith("_stagei.npz")
