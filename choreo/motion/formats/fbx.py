"""Motion as an FBX file, for Unreal, Unity, Maya, MotionBuilder and Cinema 4D, written by the user's own Blender.

FBX is a closed format whose free writers are few; Blender's is the one that others' importers are tried with. It is
run in a process of its own (`blender_script.py`), so nothing of it is part of this program. The variable
CHOREO_BLENDER says where it is; without it, `blender` is looked for in PATH. Blender 3.4 and 5.0 have been tried.

The file holds, per dancer, a skeleton in the T pose, a skinned mannequin and one animation, in centimetres, y up,
facing +z. Joints have the names of SMPL or of another profile, and the axes of the world at rest; of several dancers,
the dancer's name and a colon stand before them, as in BVH files. Seed, model and all other metadata are properties of
the skeleton's node.
"""

import errno
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np

from choreo.errors import ChoreoError, MissingDependency, NotSaved
from choreo.motion.clip import Motion
from choreo.motion.formats.gltf_animation import provenance, quaternions
from choreo.motion.formats.joint_profiles import SMPL, JointProfile
from choreo.motion.formats.json_format import json_safe
from choreo.motion.formats.mannequin import mannequin
from choreo.motion.formats.preview import palette
from choreo.motion.performance import Performance
from choreo.motion.rigid_pose import rigid_pose
from choreo.motion.skeleton import PARENTS

VARIABLE: Final = "CHOREO_BLENDER"
"""Environment variable with the path of Blender's program."""
BASE_TIMEOUT_S: Final = 120.0
SECONDS_PER_FRAME: Final = 0.05
"""Blender is killed as stuck after BASE_TIMEOUT_S plus this time per frame of each dancer."""
_SCRIPT: Final = Path(__file__).with_name("blender_script.py")
_OPTIONS: Final = ("--background", "--factory-startup", "-noaudio", "--python-exit-code", "3")
_MAGIC: Final = b"Kaydara FBX Binary"
_NOT_FOR_BLENDER: Final = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP")
_TAIL: Final = 600


class BlenderFailed(ChoreoError, RuntimeError):
    """Blender could not write the file; the message ends with what it said."""


def blender_program() -> str:
    """Path of Blender's program.

    Raises:
        MissingDependency: there is none.
    """
    given = os.environ.get(VARIABLE)
    found = shutil.which(given or "blender")
    if found is not None:
        return found
    if given:
        raise MissingDependency(
            f"FBX is written by Blender, and {VARIABLE}={given[:200]} is no program that can be run"
        )
    raise MissingDependency(
        f"FBX is written by Blender, which is not in PATH: install it (blender.org), or set {VARIABLE} to its program"
    )


def fbx_bytes(dance: Motion | Performance, profile: JointProfile = SMPL) -> bytes:
    """The file's bytes. Motion without rotations is fitted first, so its joints may move by the residual of the fit.

    Args:
        dance: one or more dancers.
        profile: what joints are called.

    Raises:
        MissingDependency: there is no Blender.
        BlenderFailed: it failed, or took too long.
        NotSaved: the disk of the temporary files is full.
    """
    blender, performance = blender_program(), Performance.of(dance)
    with tempfile.TemporaryDirectory(prefix="choreo-fbx-") as folder:
        scene, out = Path(folder) / "dance.bin", Path(folder) / "dance.fbx"
        with scene.open("wb") as file:
            _write_scene(file, performance, profile)
        limit = BASE_TIMEOUT_S + SECONDS_PER_FRAME * performance.num_frames * len(performance.dancers)
        said = _run([blender, *_OPTIONS, "--python", str(_SCRIPT), "--", str(scene), str(out)], limit, Path(folder))
        try:
            data = out.read_bytes()
        except OSError:
            data = b""
        if not data.startswith(_MAGIC):
            if os.strerror(errno.ENOSPC) in said:
                raise NotSaved("there is no room for the file in the temporary folder; make room")
            raise BlenderFailed(f"Blender wrote no FBX file: {said}")
        return data


def _run(command: list[str], limit: float, folder: Path) -> str:
    """The end of what Blender said.

    Raises:
        BlenderFailed: it failed, or ran longer than `limit` seconds.
    """
    environment = {name: value for name, value in os.environ.items() if name not in _NOT_FOR_BLENDER}
    with tempfile.TemporaryFile(dir=folder) as log:  # a pipe that is not read would block it
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, cwd=folder, timeout=limit
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise BlenderFailed(f"Blender did not write the file within {limit:.0f} s") from error
        except OSError as error:
            raise BlenderFailed(f"Blender could not be started: {error.strerror}") from error
        log.seek(max(0, log.seek(0, os.SEEK_END) - 4 * _TAIL))
        said = log.read().decode("utf-8", "replace").strip()[-_TAIL:] or "it said nothing"
    if done.returncode != 0:
        raise BlenderFailed(f"Blender failed (exit status {done.returncode}): {said}")
    return said


def _write_scene(file: BinaryIO, performance: Performance, profile: JointProfile) -> None:
    """What the script reads: a line of JSON, then float32 of each dancer: path (T, 3), quaternions (22, T, 4) wxyz."""
    body, several = mannequin(), len(performance.dancers) > 1
    dancers: list[dict[str, Any]] = []
    for number, name in enumerate(performance.names):
        namespace = f"{name}:" if several else profile.namespace
        colours = [[part / 255 for part in colour] for colour in palette(number)]
        dancers.append({"name": name, "joints": [namespace + joint for joint in profile.names], "colours": colours})
    head = {
        "fps": performance.fps,
        "num_frames": performance.num_frames,
        "dancers": dancers,
        "parents": PARENTS,
        "rest": body.joints.tolist(),
        "vertices": body.vertices.tolist(),
        "bones": body.bones.tolist(),
        "triangles": [faces.tolist() for faces in body.triangles],
        "about": {name: _property(value) for name, value in provenance(performance).items() if name != "dancers"},
    }
    file.write(json.dumps(json_safe(head), allow_nan=False).encode() + b"\n")
    for dancer in performance.dancers:
        root, local = rigid_pose(dancer)
        turns = quaternions(local)[..., [3, 0, 1, 2]]
        file.write(root.astype("<f4").tobytes())
        file.write(np.ascontiguousarray(np.moveaxis(turns, 1, 0), "<f4").tobytes())


def _property(value: Any) -> Any:
    """A value as a property of a node: numbers and text are such, anything else becomes JSON."""
    plain = isinstance(value, str | float) or (type(value) is int and abs(value) < 2**31)
    return value if plain else json.dumps(json_safe(value))
