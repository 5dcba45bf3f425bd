"""Finished dances, and what went wrong, in the terms of the protocol."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

import numpy as np
from motionmcp import MotionResult, ProtocolError
from numpy.typing import NDArray

from choreo.motion.clip import Motion
from choreo.motion.formats.gltf_animation import quaternions
from choreo.motion.rigid_pose import rigid_pose
from choreo.motion.skeleton import JOINT_NAMES
from serving.http.problems import problem_of
from serving.pipeline.results import Result

_CODES: Final = {
    HTTPStatus.UNPROCESSABLE_ENTITY: "invalid_options",
    HTTPStatus.TOO_MANY_REQUESTS: "rate_limited",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "payload_too_large",
    HTTPStatus.SERVICE_UNAVAILABLE: "model_unavailable",
    HTTPStatus.GATEWAY_TIMEOUT: "timeout",
    HTTPStatus.INSUFFICIENT_STORAGE: "resource_exhausted",
}
"""The protocol's codes of problems; others are internal errors."""


def told_motion(results: Sequence[Result], num_frames: int) -> MotionResult:
    """The samples of a request.

    Args:
        results: one dancer each, of the same frame rate.
        num_frames: frames that were asked for. A frame rate that does not divide the model's may make one more or less:
            the last one is left out or repeated.
    """
    poses = [_pose(result.motion, num_frames) for result in results]
    notes = [note for result in results for note in result.performance.meta.get("notes", ())]
    return MotionResult(
        rotations=np.stack([local for _, local in poses]).astype(np.float32),
        root_translations=np.stack([root for root, _ in poses]).astype(np.float32),
        joint_names=list(JOINT_NAMES),
        notes=[{"code": "note", "severity": "info", "message": str(note)} for note in dict.fromkeys(notes)],
    )


def told_error(error: Exception) -> ProtocolError:
    """An error, with the field that is at fault in its details; of a defect it tells no more than that."""
    problem = problem_of(error)
    code = _CODES.get(problem.status, "internal_error")
    details = {"field": problem.field} if problem.field else {}
    return ProtocolError(code, problem.detail, details=details)


def _pose(motion: Motion, num_frames: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Root (T, 3) in metres and quaternions (T, 22, 4) of the rigid fit that all formats write."""
    pose = rigid_pose(motion)
    frames = np.minimum(np.arange(num_frames), len(pose.root) - 1)
    return pose.root[frames], quaternions(pose.local)[frames]
