"""The finishing stage: denoised features to rigid motion on the floor."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from choreo.motion.clip import Motion
from choreo.motion.kinematics import heading
from choreo.motion.performance import Performance
from choreo.motion.representation import ROOT_VELOCITY, Origin, decode, encode
from choreo.motion.skeleton import PELVIS
from choreo.postprocess.finish import FinishOptions, finish_performance
from serving.pipeline.contracts import SamplingResult
from serving.pipeline.request import MotionRequest


def finish_motion(
    job: MotionRequest, sampled: SamplingResult, fps: float, meta: dict[str, Any]
) -> tuple[Motion, NDArray[np.float32]]:
    """Decode and post-process one dancer.

    Returns:
        The motion, and its positions (T, 22, 3) before the foot lock.
    Raises:
        NonFiniteOutput: the features hold NaN or infinity.
    """
    performance, before_lock = finish_dancers([_decoded(job, sampled, fps)], fps, job.finish, meta)
    return performance.single(), before_lock[0]


def finish_dancers(
    positions: Sequence[NDArray[np.floating]], fps: float, options: FinishOptions, meta: dict[str, Any]
) -> tuple[Performance, NDArray[np.float32]]:
    """Post-process the decoded dancers of one performance.

    Args:
        positions: one (T, 22, 3) array per dancer, metres, in one frame of reference.
        fps: frames per second.
        options: which stages run.
        meta: provenance, to which `fit_residual` and `postprocess` are added: of a solo the values themselves, of
            several dancers lists in their order.
    Returns:
        The performance, and positions (N, T, 22, 3) before the foot lock.
    Raises:
        NonFiniteOutput: positions hold NaN or infinity.
        InvalidInput: no dancers, too many, or unequal lengths.
    """
    dancers = finish_performance(positions, fps, options)
    residuals, reports = [d.fit_residual for d in dancers], [d.report for d in dancers]
    solo = len(dancers) == 1
    meta = meta | {
        "fit_residual": residuals[0] if solo else residuals,
        "postprocess": reports[0] if solo else reports,
    }
    return Performance(tuple(d.motion for d in dancers), meta), np.stack([d.before_lock for d in dancers])


def _decoded(job: MotionRequest, sampled: SamplingResult, fps: float) -> NDArray[np.float64]:
    """Joint positions of a solo. Without a starting motion the dancer begins at the origin, facing +z: the first
    heading that the network produces is arbitrary."""
    features = np.array(sampled.features)
    if job.start is None:
        positions = decode(features, fps, Origin())
        # -heading[0] turns the whole motion; encode and decode are each other's inverse, so nothing else changes.
        turned, _ = encode(positions, fps, float(heading(positions[:1])[0]), previous=positions[0, PELVIS])
        return decode(turned, fps, Origin())
    features[0, ROOT_VELOCITY] = 0  # the network does not know it, and the start says where the dancer is
    x, _, z = job.start.positions[0, PELVIS]
    return decode(features, fps, Origin(float(x), float(z)))
