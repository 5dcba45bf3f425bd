"""The pose of the canonical skeleton that every format with rotations writes: one fit, so that all files agree."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from choreo.motion.clip import Motion
from choreo.motion.retarget import refit
from choreo.motion.rigid_fit import fit_rotations
from choreo.motion.skeleton import PELVIS

Array = NDArray[np.float64]


class RigidPose(NamedTuple):
    """Pelvis positions (T, 3) in metres and local rotations (T, 22, 3, 3)."""

    root: Array
    local: Array


def rigid_pose(motion: Motion) -> RigidPose:
    """The motion's own rotations or, where it has none, those of the rigid fit."""
    if motion.rotations is None:
        fit = fit_rotations(motion.positions, motion.fps)
        return RigidPose(fit.root, fit.local)
    return RigidPose(np.asarray(motion.positions[:, PELVIS], np.float64), np.asarray(motion.rotations, np.float64))


def on_canonical_skeleton(motion: Motion) -> tuple[Motion, float]:
    """The motion with rotations of the canonical skeleton and their forward kinematics as positions.

    A skeleton with other bone lengths is retargeted (`retarget.retarget`): the dancer has the canonical size then.

    Returns:
        The motion, and the mean distance of its joints to the retargeted ones, metres; 0 if it had rotations.
    """
    if motion.rotations is not None:
        return motion, 0.0
    fit = fit_rotations(refit(motion.positions), motion.fps)
    fitted = Motion(fit.positions.astype(np.float32), motion.fps, fit.local.astype(np.float32), motion.meta)
    return fitted, fit.residual
