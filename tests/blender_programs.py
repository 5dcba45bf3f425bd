"""The user's Blender in tests: what it reads of a file that is imported with default settings.

`CHOREO_BLENDER` or PATH says where it is; tests are skipped with the reason where there is none. Instead of Debian's
package or one of blender.org, the wheel `bpy` does: a script that runs its Python with what stands behind `--python`.
"""

import json
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from numpy.typing import NDArray

from choreo.errors import MissingDependency
from choreo.motion.formats.fbx import blender_program
from choreo.motion.skeleton import JOINT_NAMES

SCRIPT: Final = Path(__file__).parent / "blender" / "positions.py"
TIMEOUT_S: Final = 180


@dataclass(frozen=True)
class Imported:
    """A scene after the import.

    Attributes:
        fps: of the scene.
        armatures: of each dancer, as the script has them.
    """

    fps: float
    armatures: list[dict[str, Any]]

    def joints(self, number: int, names: tuple[str, ...] = JOINT_NAMES) -> NDArray[np.float64]:
        """Heads (T, 22, 3) of bones with these names in the axes of this program, metres."""
        armature = self.armatures[number]
        places = np.array(armature["positions"])[:, [armature["bones"].index(name) for name in names]]
        return places[..., [0, 2, 1]] * (1, 1, -1)


def blender() -> str:
    """The program; skips the test without one."""
    try:
        return blender_program()
    except MissingDependency as error:
        pytest.skip(str(error))


def imported(path: Path, fps: float) -> Imported:
    """A file of FBX, BVH or glTF as Blender imports it into a scene of `fps` frames per second."""
    if path.suffix == ".glb" and not has_numpy():
        pytest.skip("this Blender has no numpy, which its glTF importer needs")
    if path.suffix == ".bvh" and not reads_bvh():
        pytest.skip("this Blender is too old for its Python: its BVH importer opens no file")
    found = _run(SCRIPT, str(path), str(fps))
    return Imported(found["fps"], found["armatures"])


def has_numpy() -> bool:
    """Whether its Python has numpy, which Debian only recommends."""
    return bool(_facts()["numpy"])


def reads_bvh() -> bool:
    """Whether its BVH importer runs: that of 3.4 opens files in a way that Python 3.11, of Debian, no longer has."""
    return _facts()["version"] >= [3, 5] or _facts()["python"] < [3, 11]


@cache
def _facts() -> dict[str, Any]:
    return _run(SCRIPT.with_name("facts.py"))


def _run(script: Path, *arguments: str) -> dict[str, Any]:
    command = [blender(), "--background", "--factory-startup", "-noaudio", "--python-exit-code", "3"]
    command += ["--python", str(script), "--", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert done.returncode == 0, (done.stdout + done.stderr)[-2000:]
    line = next(line for line in done.stdout.splitlines() if line.startswith("FOUND "))
    return dict(json.loads(line.removeprefix("FOUND ")))
