"""Motion as a VRM animation (.vrma), which every VRM character plays.

A binary glTF file with the extension VRMC_vrm_animation 1.0 (VRM Consortium): nodes in VRM's T pose, facing +z, that
the extension calls by the names of human bones. Only the hips travel, nothing is scaled, and there is no mesh. A player
scales the path by the height of the character's hips.

Each dancer is an animation of the same nodes with the dancer's name: the specification lets a file have several, of
which a player must read the first.
"""

from typing import Final

from choreo.motion.clip import Motion
from choreo.motion.formats.gltf_animation import ASSET, Animation, add_times, joint_nodes, provenance
from choreo.motion.formats.gltf_buffer import GltfBuffer
from choreo.motion.formats.joint_profiles import VRM
from choreo.motion.performance import Performance
from choreo.motion.skeleton import PELVIS

EXTENSION: Final = "VRMC_vrm_animation"
_ARMATURE: Final = 0
_FIRST: Final = 1


def vrma_bytes(dance: Motion | Performance) -> bytes:
    """The file's bytes. Motion without rotations is fitted first, so its joints may move by the residual of the fit."""
    performance = Performance.of(dance)
    buffer = GltfBuffer()
    times = add_times(buffer, performance)
    animations = []
    for name, dancer in zip(performance.names, performance.dancers, strict=True):
        animation = Animation(buffer, times)
        animation.add(_FIRST, dancer)
        animations.append(animation.document(name))
    bones = {name: {"node": _FIRST + joint} for joint, name in enumerate(VRM.names)}
    return buffer.glb(
        {
            "asset": ASSET,
            "extensionsUsed": [EXTENSION],
            "extensions": {EXTENSION: {"specVersion": "1.0", "humanoid": {"humanBones": bones}}},
            "scene": 0,
            "scenes": [{"name": "dance", "nodes": [_ARMATURE], "extras": provenance(performance)}],
            "nodes": [{"name": "dancer", "children": [_FIRST + PELVIS]}, *joint_nodes(_FIRST, VRM)],
            "animations": animations,
        }
    )
