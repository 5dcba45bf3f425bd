"""Couples in one world: archives of `<take>/a` and `<take>/b`, int16 millimetres (T, 22, 3), y up, 30 fps.

Both dancers of a take share their instants and their place on the floor. `open_dataset` gives each of them as a clip of
its own, in the group of the take; `read_couple` gives the two as one performance. Takes that were cut, `<take>_s0`,
`<take>_s1`, ..., are one group.
"""

import re
import zipfile
import zlib
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from choreo.data.layouts.amass import MAX_PROBED
from choreo.data.layouts.listing import regular_files
from choreo.data.layouts.plain_npz import UNSTATED
from choreo.data.layouts.recording import Recording, Skipped
from choreo.data.licences import CMU
from choreo.data.splits.split import TEST, TRAINING
from choreo.errors import InvalidInput
from choreo.motion.clip import MAX_FRAMES, Motion, check_positions
from choreo.motion.performance import Performance
from choreo.motion.skeleton import FPS, NUM_JOINTS

DANCERS: Final = ("a", "b")
MILLIMETRES: Final = 1000
MAX_ARRAY_BYTES: Final = MAX_FRAMES * NUM_JOINTS * 3 * 4 + 4096
"""Largest array that is unpacked."""
TEST_SUFFIX: Final = "_test"
"""Archives whose names end so hold the takes for tests; the others are divided by hash."""
CMU_PREFIX: Final = "cmu_"
"""Archives whose names begin so are of the CMU database."""
_PART: Final = re.compile(r"_s\d+$")


class Couples:
    """A folder of such archives."""

    name = "couples"

    def __init__(self, root: Path) -> None:
        self._paths: dict[str, Path] = {}
        self.skipped: list[Skipped] = []
        for path in regular_files(root, "*.npz"):
            if not (takes := _takes(path)):
                self.skipped.append(Skipped(path.name, "has no couples"))
            for take in takes:
                if take in self._paths:
                    self.skipped.append(Skipped(f"{path.name}: {take}", "is in another file already"))
                else:
                    self._paths[take] = path
        self.takes = tuple(self._paths)
        self.keys = tuple(f"{take}/{dancer}" for take in self.takes for dancer in DANCERS)
        tests = {take for take, path in self._paths.items() if path.stem.endswith(TEST_SUFFIX)}
        self.published = (
            {
                TRAINING: tuple(key for key in self.keys if key.rpartition("/")[0] not in tests),
                TEST: tuple(key for key in self.keys if key.rpartition("/")[0] in tests),
            }
            if tests
            else {}
        )

    @staticmethod
    def recognised(root: Path) -> bool:
        """Whether one of the first archives holds couples and nothing else."""
        return any(_takes(path) for path in regular_files(root, "*.npz")[:MAX_PROBED])

    def group_of(self, key: str) -> str:
        """The take."""
        return _PART.sub("", key.rpartition("/")[0])

    def recording(self, key: str) -> Recording:
        """Read one dancer.

        Raises:
            InvalidInput: the array is damaged or not motion.
            OSError: the file cannot be read.
        """
        take = key.rpartition("/")[0]
        return Recording(
            key=key,
            group=self.group_of(key),
            family=self.group_of(key).split("_")[0],
            positions=_positions(self._paths[take], key),
            fps=FPS,
            licence=self.licence_of(take),
        )

    def licence_of(self, take: str) -> str:
        """Licence tag of a take, by the name of its archive."""
        return CMU if self._paths[take].stem.startswith(CMU_PREFIX) else UNSTATED

    def couple(self, take: str) -> Performance:
        """Both dancers of a take.

        Raises:
            InvalidInput: an array is damaged or not motion, or the two have different lengths.
            OSError: the file cannot be read.
        """
        return read_couple(self._paths[take], take)


def read_couple(path: Path, take: str) -> Performance:
    """Both dancers of a take of an archive, in their common frame and on their own skeletons.

    Raises:
        InvalidInput: there is no such take, an array is damaged or not motion, or the two have different lengths.
        OSError: the file cannot be read.
    """
    both = tuple(Motion(_positions(path, f"{take}/{dancer}").astype(np.float32)) for dancer in DANCERS)
    return Performance(both, {"take": take})


def couples_arrays(takes: dict[str, Performance]) -> dict[str, NDArray[np.int16]]:
    """The members of an archive of takes of two dancers at 30 fps.

    Raises:
        InvalidInput: a take has another number of dancers or frames per second, or is more than 32 m from the origin.
    """
    out: dict[str, NDArray[np.int16]] = {}
    for take, performance in takes.items():
        if len(performance.dancers) != len(DANCERS) or performance.fps != FPS:
            raise InvalidInput(take, f"must be two dancers at {FPS} fps")
        millimetres = np.rint(performance.positions.astype(np.float64) * MILLIMETRES)
        if np.abs(millimetres).max() > np.iinfo(np.int16).max:
            raise InvalidInput(take, "goes more than 32 m from where it begins")
        out |= {f"{take}/{d}": p for d, p in zip(DANCERS, millimetres.astype(np.int16), strict=True)}
    return out


def _opened(path: Path) -> NpzFile | None:
    try:
        archive = np.load(path)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return None
    return archive if isinstance(archive, NpzFile) else None


def _takes(path: Path) -> list[str]:
    """Takes of an archive that holds couples and nothing else; none of any other."""
    if (archive := _opened(path)) is None:
        return []
    with archive:
        names = archive.files
    takes = list(dict.fromkeys(name.rpartition("/")[0] for name in names))
    return takes if all(takes) and set(names) == {f"{take}/{d}" for take in takes for d in DANCERS} else []


def _positions(path: Path, key: str) -> NDArray[np.float64]:
    if (archive := _opened(path)) is None:
        raise InvalidInput(key, f"{path.name} is not a readable .npz archive")
    with archive:
        positions = _array(archive, key).astype(np.float64) / MILLIMETRES
    check_positions(positions, key)
    return positions


def _array(archive: NpzFile, key: str) -> NDArray[Any]:
    try:
        if archive.zip.getinfo(f"{key}.npy").file_size > MAX_ARRAY_BYTES:
            raise InvalidInput(key, "unpacks to more than an hour of motion")
        found = np.asarray(archive[key])
    except InvalidInput:
        raise
    except (OSError, ValueError, KeyError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        raise InvalidInput(key, f"cannot be read: {error}") from error
    if found.dtype.kind not in "iuf":
        raise InvalidInput(key, f"has the unusable type {found.dtype}")
    return found
