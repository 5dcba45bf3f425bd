"""AMASS (Mahmood et al. 2019): archives of SMPL-H poses, `<data set>/<subject>/<take>_poses.npz`.

Layout as published by amass.is.tue.mpg.de and documented in nghorbani/amass: `poses` (N, 156) axis-angle (3 root, 63
body, 90 hands), `trans` (N, 3) metres, `mocap_framerate`, `betas`, `dmpls`, `gender`; z is up. The SMPL-X release has
(N, 165) and `mocap_frame_rate`. Gender and betas are not read: joints are computed without a body model
(`choreo.data.layouts.smpl_poses`). A subject's `shape.npz` holds no motion.
"""

from pathlib import Path
from typing import Final

from choreo.data.layouts.listing import regular_files
from choreo.data.layouts.recording import Recording, Skipped
from choreo.data.layouts.smpl_poses import smpl_positions, z_up_to_y_up
from choreo.errors import InvalidInput
from choreo.motion.formats.npz import NpzArchive

LICENCE: Final = "amass-noncommercial"
RELEASES: Final = (("mocap_framerate", 156), ("mocap_frame_rate", 165))
"""Name of the frame rate and numbers per pose: SMPL-H, SMPL-X."""
MAX_PROBED: Final = 20
"""Archives that are opened to recognise the layout."""


class Amass:
    """A folder of archives, at any depth."""

    name = "amass"

    def __init__(self, root: Path) -> None:
        paths = [path for path in regular_files(root, "**/*.npz") if path.name != "shape.npz"]
        self._paths = {path.relative_to(root).with_suffix("").as_posix(): path for path in paths}
        self.keys = tuple(self._paths)
        self.skipped: list[Skipped] = []
        self.published: dict[str, tuple[str, ...]] = {}

    @staticmethod
    def recognised(root: Path) -> bool:
        """Whether one of the first archives has poses and translations."""
        return any(has_members(path, ("poses", "trans")) for path in regular_files(root, "**/*.npz")[:MAX_PROBED])

    def group_of(self, key: str) -> str:
        """The take."""
        return key

    def recording(self, key: str) -> Recording:
        """Read one take.

        Raises:
            InvalidInput: not an archive of poses.
            OSError: it cannot be read.
        """
        archive = NpzArchive(self._paths[key], key)
        rate, width = next((release for release in RELEASES if release[0] in archive), RELEASES[0])
        fps = float(archive.floats(rate, ()))
        poses, trans = archive.floats("poses", (None, width)), archive.floats("trans", (None, 3))
        return Recording(
            key=key,
            group=self.group_of(key),
            family="/".join(key.split("/")[:-1]) or self.name,
            positions=z_up_to_y_up(smpl_positions(poses, trans, key)),
            fps=fps,
            licence=LICENCE,
        )


def has_members(path: Path, names: tuple[str, ...]) -> bool:
    """Whether a file is an .npz archive with these members."""
    try:
        archive = NpzArchive(path, path.name)
    except (InvalidInput, OSError):
        return False
    return all(name in archive for name in names)
