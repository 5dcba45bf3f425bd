"""Rigid fit of noisy positions: `kinematics.fit`, then corrected so that errors of single joints do not add up.

`kinematics.fit` takes every direction between two given joints. Where a body with several children is replaced by
its rigid shape, the noise of the joints around it no longer cancels along the chain, and feet and hands end up with
about three times their own. Here the root is the mean of what the pelvis' own joints say, and each bone aims at its
given end from halfway between the given and the fitted place of its start. Measured on mocap with 1 cm of noise, the
mean error falls from 29 to 17 mm; with bones 4 % off and 5 mm of noise from 14 to 9 mm.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.motion import kinematics
from choreo.motion import rotations as rot
from choreo.motion.kinematics import RigidFit
from choreo.motion.skeleton import L_FOOT, NUM_JOINTS, PARENTS, PELVIS, R_FOOT, REST_OFFSETS, children

TRUST: Final = 0.5
"""How far the start of an aim moves from the given to the fitted place: 0 keeps directions, 1 chases positions."""
KEEP_DIRECTION: Final = (L_FOOT, R_FOOT)
"""Bones whose direction matters more than where they end: a foot stays as flat as it was."""


def fit_rigid(positions: NDArray[np.floating]) -> RigidFit:
    """Fit the canonical skeleton to positions (T, 22, 3), metres; exact where they already are rigid."""
    given = np.asarray(positions, np.float64)
    world = kinematics.world_rotations(kinematics.fit(given).local)
    fitted = np.empty_like(given)
    body = [PELVIS, *children(PELVIS)]
    fitted[:, PELVIS] = (given[:, body] - (world[:, [PELVIS]] @ REST_OFFSETS[body][..., None])[..., 0]).mean(axis=1)
    for joint in range(NUM_JOINTS):
        parent, kids = PARENTS[joint], children(joint)
        if joint:
            fitted[:, joint] = fitted[:, parent] + world[:, parent] @ REST_OFFSETS[joint]
        if len(kids) == 1:
            trust = 0.0 if kids[0] in KEEP_DIRECTION else TRUST
            start = given[:, joint] + trust * (fitted[:, joint] - given[:, joint])
            swing = rot.shortest_arc(world[:, joint] @ REST_OFFSETS[kids[0]], given[:, kids[0]] - start)
            world[:, joint] = swing @ world[:, joint]
        elif not kids:
            world[:, joint] = world[:, parent]
    residual = float(np.linalg.norm(fitted - given, axis=-1).mean())
    return RigidFit(fitted[:, PELVIS], kinematics.local_rotations(world), fitted, residual)
