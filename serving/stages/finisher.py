"""The finishing stage: denoised features to rigid motion on the floor."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from choreo.motion.clip import Motion
from choreo.motion.kinematics import heading
from choreo.motion.representation import ROOT_VELOCITY, Origin, decode, encode
from choreo.motion.skeleton import PELVIS
from choreo.postprocess.finish import finish
from serving.pipeline.contracts import SamplingResult
from serving.pipeline.request import MotionRequest


def finish_motion(
    job: MotionRequest, sampled: SamplingResult, fps: float, meta: dict[str, Any]
) -> tuple[Motion, NDArray[np.float32]]:
    """Decode and post-process; returns the motion and the positions before the foot lock.

    Without a starting motion the dancer begins at the origin, facing +z: the network's own first heading is arbitrary.
    """
    features = np.array(sampled.features)
    if job.start is not None:
        features[0, ROOT_VELOCITY] = 0  # the network does not know it, and the start says where the dancer is
    positions = decode(features, fps, _origin(job))
    if job.start is None:
        # -heading[0] turns the whole motion; encode and decode are each other's inverse, so nothing else changes.
        turned, _ = encode(positions, fps, float(heading(positions[:1])[0]), previous=positions[0, PELVIS])
        positions = decode(turned, fps, Origin())
    done = finish(positions, fps, job.finish)
    meta = meta | {"fit_residual": done.fit_residual, "postprocess": done.report}
    return Motion(done.motion.positions, fps, done.motion.rotations, meta), done.before_lock


def _origin(job: MotionRequest) -> Origin:
    """The group's frame: the start's own axes and place, if there is one."""
    if job.start is None:
        return Origin()
    x, _, z = job.start.positions[0, PELVIS]
    return Origin(float(x), float(z))
