"""A request of the protocol as the values of a request for motion."""

from typing import Any, Final

import numpy as np
from motionmcp import GenerateRequest, Guidance, PoseKeyframeConstraint, ProtocolError, RootPathConstraint, TextSegment
from scipy.spatial.transform import Rotation

from choreo.motion.kinematics import forward_kinematics
from choreo.motion.skeleton import JOINT_NAMES, NUM_JOINTS

ANY_DANCE: Final = "a person dances"
"""Prompt of what has none."""
MAX_SEED: Final = 2**63 - 1


def asked_values(asked: GenerateRequest, model_fps: float) -> list[dict[str, Any]]:
    """Values for `serving.pipeline.fields.parse_fields`, one request per sample.

    Args:
        asked: checked against the model's capabilities.
        model_fps: frame rate of the model, which holds where the request gives none.

    Raises:
        ProtocolError: it asks for what no model here does.
    """
    fps = asked.fps(model_fps)
    values = {
        "model": asked.model,
        "duration": asked.total_frames / fps,
        "fps": fps,
        **_prompts(asked, fps),
        **_options(asked),
    }
    constraints = _constraints(asked, fps)
    if constraints:
        values["constraints"] = constraints
    seed, count = values.pop("seed", None), values.pop("num_samples", 1)
    if seed is None:
        return [values] * count
    return [values | {"seed": (seed + i) % MAX_SEED} for i in range(count)]


def _prompts(asked: GenerateRequest, fps: float) -> dict[str, Any]:
    """One prompt for all, or prompts over time. Segments without a prompt have that of `ANY_DANCE`."""
    spans: list[dict[str, Any]] = []
    at = 0
    for segment in asked.segments:
        end = at + segment.duration_frames
        if isinstance(segment, TextSegment):
            spans.append({"start": at / fps, "end": end / fps, "text": segment.prompt})
        at = end
    if len(asked.segments) == 1 and spans:
        return {"text_prompt": spans[0]["text"]}
    return {"text_prompt": ANY_DANCE} | ({"segments": spans} if spans else {})


def _options(asked: GenerateRequest) -> dict[str, Any]:
    options = asked.options
    if options is None:
        return {"preset": "fast"}
    out: dict[str, Any] = {"preset": "fast", "num_samples": options.num_samples}
    if options.seed is not None:
        if not 0 <= options.seed <= MAX_SEED:
            raise ProtocolError("invalid_options", f"options.seed must be 0 to {MAX_SEED}, got {options.seed}")
        out["seed"] = options.seed
    if "diffusion_steps" in options.model_fields_set:  # the protocol's default is that of another model
        out["num_steps"] = options.diffusion_steps
    if not options.post_processing:
        out |= {"smooth": False, "foot_lock": False, "on_beat": False}
    if options.guidance is not None:
        out["guidance_scale"] = _guidance(options.guidance)
    return out | (options.model_options or {})  # they are called as the fields that they set


def _guidance(guidance: Guidance) -> float:
    if guidance.type == "separated":
        raise ProtocolError("invalid_options", "options.guidance: separated is not to be had; send regular or nocfg")
    return guidance.weight[0] if guidance.type == "regular" else 1.0


def _constraints(asked: GenerateRequest, fps: float) -> dict[str, Any]:
    out: dict[str, Any] = {}
    if asked.options is not None and asked.options.loop:
        out["loop"] = True
    for i, constraint in enumerate(asked.constraints):
        field = f"constraints.{i}"
        match constraint:
            case RootPathConstraint():
                if "path" in out:
                    raise ProtocolError("invalid_request", f"{field}: there is a root_path already; send one")
                out["path"] = _path(constraint, field, fps)
            case PoseKeyframeConstraint():
                pose = {"time": constraint.frame / fps, "pose": _pose(constraint, field)}
                out.setdefault("keyframes", []).append(pose)
    return out


def _path(path: RootPathConstraint, field: str, fps: float) -> list[list[float]]:
    if path.heading_radians is not None:
        raise ProtocolError("invalid_request", f"{field}.heading_radians: the heading cannot be given; leave it out")
    return [[frame / fps, x, z] for frame, (x, z) in zip(path.frames, path.positions_xz, strict=True)]


def _pose(pose: PoseKeyframeConstraint, field: str) -> list[list[float]]:
    """Joints (22, 3) of a key pose.

    Raises:
        ProtocolError: it leaves joints to the model, or says no place, or its numbers are no rotations.
    """
    missing = [name for name in JOINT_NAMES if name not in pose.joint_rotations]
    if missing and pose.fill_mode == "generate":
        raise ProtocolError(
            "invalid_request",
            f"{field}: a key pose is of all {NUM_JOINTS} joints, and {missing[0]} is missing; "
            "give every joint, or fill_mode rest",
        )
    if pose.root_position is None:
        raise ProtocolError("invalid_request", f"{field}.root_position: is needed")
    given = [pose.joint_rotations.get(name, (0.0, 0.0, 0.0, 1.0)) for name in JOINT_NAMES]
    quaternions = np.array(given, np.float64)
    lengths = np.linalg.norm(quaternions, axis=1)
    root = np.array(pose.root_position, np.float64)
    if not (np.isfinite(lengths).all() and (np.abs(lengths - 1) < 0.1).all() and np.isfinite(root).all()):
        raise ProtocolError("invalid_request", f"{field}: rotations must be unit quaternions and places finite")
    local = Rotation.from_quat(quaternions).as_matrix()
    joints: list[list[float]] = forward_kinematics(root[None], local[None])[0].tolist()
    return joints
