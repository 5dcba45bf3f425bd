"""A dancer's joints and their movement in a glTF 2.0 file: nodes in the T pose, and an animation that turns them.

The pelvis moves and all joints turn, linearly interpolated, with a key a frame from time 0.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from choreo.motion.clip import Motion
from choreo.motion.formats.gltf_buffer import GltfBuffer
from choreo.motion.formats.joint_profiles import JointProfile
from choreo.motion.formats.mannequin import rest_joints
from choreo.motion.performance import Performance
from choreo.motion.rigid_pose import rigid_pose
from choreo.motion.skeleton import NUM_JOINTS, PELVIS, REST_OFFSETS, children

ASSET: Final = {"version": "2.0", "generator": "choreo"}
_COPIED: Final = ("seed", "model", "tempo", "beats")
"""Metadata that stands next to the whole of it, where viewers find it at once."""


def joint_nodes(first: int, profile: JointProfile) -> list[dict[str, Any]]:
    """The 22 nodes of a dancer who stands on y = 0 in the T pose; they are the file's from number `first` on."""
    nodes: list[dict[str, Any]] = []
    for joint, name in enumerate(profile.names):
        offset = rest_joints()[PELVIS] if joint == PELVIS else REST_OFFSETS[joint]
        below = [first + child for child in children(joint)]
        node = {"name": f"{profile.namespace}{name}", "translation": offset.tolist()}
        nodes.append(node | ({"children": below} if below else {}))
    return nodes


def add_times(buffer: GltfBuffer, performance: Performance) -> int:
    """The accessor of the times of all frames, seconds."""
    times = np.arange(performance.num_frames) / performance.fps
    return buffer.add(times.astype(np.float32), bounds=True)


class Animation:
    """One animation, to which dancers are added.

    Args:
        buffer: of the file.
        times: see `add_times`.
    """

    def __init__(self, buffer: GltfBuffer, times: int) -> None:
        self._buffer, self._times = buffer, times
        self._channels: list[dict[str, Any]] = []
        self._samplers: list[dict[str, Any]] = []

    def add(self, first: int, dancer: Motion) -> None:
        """Move the 22 nodes from number `first` on as a dancer does."""
        root, local = rigid_pose(dancer)
        turns = quaternions(local).astype(np.float32)
        self._channel(first + PELVIS, "translation", root.astype(np.float32))
        for joint in range(NUM_JOINTS):
            self._channel(first + joint, "rotation", turns[:, joint])

    def document(self, name: str) -> dict[str, Any]:
        """The animation as the file has it."""
        return {"name": name, "channels": self._channels, "samplers": self._samplers}

    def _channel(self, node: int, path: str, values: NDArray[np.float32]) -> None:
        sampler = {"input": self._times, "output": self._buffer.add(values), "interpolation": "LINEAR"}
        self._channels.append({"sampler": len(self._samplers), "target": {"node": node, "path": path}})
        self._samplers.append(sampler)


def provenance(performance: Performance) -> dict[str, Any]:
    """`extras` of the scene: rate, length, dancers and metadata."""
    meta = performance.meta
    extras: dict[str, Any] = {
        "fps": performance.fps,
        "num_frames": performance.num_frames,
        "dancers": list(performance.names),
        "meta": meta,
    }
    return extras | {name: meta[name] for name in _COPIED if name in meta}


def quaternions(rotations: NDArray[np.floating]) -> NDArray[np.float64]:
    """Unit quaternions (T, J, 4), x y z w, of rotations (T, J, 3, 3), without changes of sign between frames."""
    shape = rotations.shape[:-2]
    found = Rotation.from_matrix(np.asarray(rotations, np.float64).reshape(-1, 3, 3)).as_quat().reshape(*shape, 4)
    found *= np.where(found[:1, :, 3:] < 0, -1.0, 1.0)
    flips = np.where((found[1:] * found[:-1]).sum(axis=-1) < 0, -1.0, 1.0)
    found[1:] *= np.cumprod(flips, axis=0)[..., None]
    return np.asarray(found, np.float64)
