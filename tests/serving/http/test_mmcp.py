"""The door for animation software: capabilities, motion, directions, and refusals in the protocol's own terms."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from motionmcp.client import parse_gltf_samples

from choreo.errors import BackendUnavailable, DeadlineExceeded
from choreo.motion.kinematics import forward_kinematics
from choreo.motion.skeleton import JOINT_NAMES, NUM_JOINTS
from serving.http.mmcp.skeleton import STANDING
from serving.pipeline.request import MotionRequest

UPRIGHT = [0.0, 0.0, 0.0, 1.0]


@pytest.fixture
def capabilities(ingress: Any) -> dict[str, Any]:
    answer = ingress.ask("GET", "/mmcp/capabilities")
    assert answer.status_code == 200, answer.text[:500]
    document: dict[str, Any] = answer.json()
    return document


@pytest.fixture
def asked(capabilities: dict[str, Any]) -> dict[str, Any]:
    """A request for two seconds of the first model."""
    model = capabilities["models"][0]
    return {
        "protocol_version": capabilities["protocol_version"],
        "model": model["id"],
        "skeleton": model["canonical_skeleton"],
        "segments": [{"type": "text", "prompt": "a slow waltz", "duration_frames": 60}],
    }


def generate(ingress: Any, asked: dict[str, Any], **given: Any) -> httpx.Response:
    answer: httpx.Response = ingress.ask("POST", "/mmcp/generate", json=asked, **given)
    return answer


def refused(answer: httpx.Response, status: int, code: str, words: str) -> None:
    assert answer.status_code == status, answer.text[:500]
    error = answer.json()["error"]
    assert error["code"] == code
    assert words in json.dumps(error), error


def test_capabilities_tell_of_every_model(ingress: Any, capabilities: dict[str, Any]) -> None:
    names = [model["name"] for model in ingress.ask("GET", "/v1/models").json()["models"]]
    assert [model["id"] for model in capabilities["models"]] == names
    model = capabilities["models"][0]
    joints = model["canonical_skeleton"]["joints"]
    assert [joint["name"] for joint in joints] == list(JOINT_NAMES)
    assert joints[0]["rest_translation"] == [0.0, pytest.approx(STANDING), 0.0]
    assert model["supported_constraints"] == ["root_path", "pose_keyframe"]
    assert model["supports_loop"]


def test_motion_comes_as_gltf_that_the_protocols_client_reads(ingress: Any, stages: Any, asked: dict[str, Any]) -> None:
    answer = generate(ingress, asked | {"options": {"num_samples": 2, "seed": 7}})
    assert answer.status_code == 200, answer.text[:500]
    assert answer.headers["content-type"] == "model/gltf+json"
    samples = parse_gltf_samples(answer.json())
    assert len(samples) == 2
    assert [request.seed for request in stages.requests] == [7, 8]
    assert {request.text for request in stages.requests} == {"a slow waltz"}
    extension = answer.json()["extensions"]["MMCP_motion"]
    assert [sample["num_frames"] for sample in extension["samples"]] == [60, 60]


def test_numbers_are_those_of_the_dance(ingress: Any, asked: dict[str, Any]) -> None:
    """The stages' dancer stands: joints follow from the file by forward kinematics of the skeleton that was sent."""
    (sample,) = parse_gltf_samples(generate(ingress, asked).json())
    expected = forward_kinematics(np.array([[0, 0.95, 0]]), np.tile(np.eye(3), (1, NUM_JOINTS, 1, 1)))
    joints = forward_kinematics(sample["posed_joints"][:, 0], sample["local_rot_mats"])
    np.testing.assert_allclose(joints, np.repeat(expected, 60, axis=0), atol=1e-5)
    assert sample["joint_names"] == list(JOINT_NAMES)
    assert sample["fps"] == 30


@pytest.mark.parametrize("fps", [24, 30, 60])
def test_any_frame_rate_has_the_frames_that_were_asked_for(
    ingress: Any, stages: Any, asked: dict[str, Any], fps: int
) -> None:
    answer = generate(ingress, asked | {"timing": {"fps": fps}})
    assert answer.json()["extensions"]["MMCP_motion"]["samples"][0]["num_frames"] == 60
    (request,) = stages.requests
    assert request.fps == fps
    assert request.num_frames == round(30 * 60 / fps)


def test_options_constraints_and_prompts_over_time_arrive(ingress: Any, stages: Any, asked: dict[str, Any]) -> None:
    pose = dict.fromkeys(JOINT_NAMES, UPRIGHT)
    more = {
        "segments": [
            {"type": "text", "prompt": "a waltz", "duration_frames": 60},
            {"type": "unconditioned", "duration_frames": 30},
            {"type": "text", "prompt": "a bow", "duration_frames": 30},
        ],
        "constraints": [
            {"type": "root_path", "frames": [0, 60], "positions_xz": [[0, 0], [1, 0.5]]},
            {"type": "pose_keyframe", "frame": 90, "joint_rotations": pose, "root_position": [1, 0.9, 0.5]},
        ],
        "options": {
            "seed": 3,
            "diffusion_steps": 4,
            "post_processing": False,
            "guidance": {"type": "regular", "weight": [1.5]},
            "model_options": {"preset": "draft"},
        },
    }
    answer = generate(ingress, asked | more)
    assert answer.status_code == 200, answer.text[:500]
    (request,) = stages.requests
    assert isinstance(request, MotionRequest)
    assert (request.seed, request.num_steps, request.guidance_scale) == (3, 4, 1.5)
    assert request.preset == "draft"
    assert [(segment.start, segment.end, segment.text) for segment in request.segments] == [
        (0, 2, "a waltz"), (3, 4, "a bow"),
    ]  # fmt: skip
    assert request.text == "a person dances"
    assert request.constraints.path is not None
    np.testing.assert_allclose(request.constraints.path, [[0, 0, 0], [2, 1, 0.5]])
    (key,) = request.constraints.key_poses
    assert key.frame == 90
    expected = forward_kinematics(np.array([[1, 0.9, 0.5]]), np.tile(np.eye(3), (1, NUM_JOINTS, 1, 1)))[0]
    np.testing.assert_allclose(key.positions, expected, atol=1e-9)


def test_a_pose_may_leave_joints_at_rest(ingress: Any, stages: Any, asked: dict[str, Any]) -> None:
    pose = {"type": "pose_keyframe", "frame": 0, "joint_rotations": {"head": UPRIGHT}, "root_position": [0, 0.9, 0]}
    assert generate(ingress, asked | {"constraints": [pose | {"fill_mode": "rest"}]}).status_code == 200
    (request,) = stages.requests
    assert len(request.constraints.key_poses) == 1


KEY = "k" * 32
KEYS = json.dumps({"keys": [{"name": "blender", "key": KEY}]})
BAD: list[tuple[dict[str, Any], int, str, str]] = [
    ({"model": "other"}, 400, "unknown_model", "other"),
    ({"protocol_version": "2.0"}, 400, "version_unsupported", "2.0"),
    ({"skeleton": {"joints": [{"name": "hips", "rest_translation": [0, 0, 0], "rest_rotation": UPRIGHT}]}},
     400, "retargeting_unsupported", "canonical"),
    ({"segments": [{"type": "pose", "prompt": "a bow"}]}, 400, "unsupported_segment", "pose"),
    ({"segments": [{"type": "text", "prompt": "x" * 1001, "duration_frames": 60}]}, 400, "invalid_options", "1001"),
    ({"segments": [{"type": "text", "prompt": "x", "duration_frames": 10**9}]}, 400, "invalid_options", "duration"),
    ({"segments": [{"type": "text", "prompt": "\0", "duration_frames": 60}]}, 400, "invalid_options", "text_prompt"),
    ({"constraints": [{"type": "effector_target", "joint": "head", "frames": [0], "positions": [[0, 1, 0]]}]},
     400, "unsupported_constraint", "effector_target"),
    ({"constraints": [{"type": "pose_keyframe", "frame": 99, "joint_rotations": {"head": UPRIGHT}}]},
     400, "frame_out_of_range", "99"),
    ({"constraints": [{"type": "pose_keyframe", "frame": 9, "joint_rotations": {"head": UPRIGHT}}]},
     400, "invalid_request", "constraints.0"),
    ({"constraints": [{"type": "pose_keyframe", "frame": 9, "joint_rotations": {"head": [9, 9, 9, 9]},
                       "root_position": [0, 1, 0], "fill_mode": "rest"}]}, 400, "invalid_request", "unit"),
    ({"constraints": [{"type": "pose_keyframe", "frame": 9, "joint_rotations": {"head": UPRIGHT},
                       "fill_mode": "rest"}]}, 400, "invalid_request", "root_position"),
    ({"constraints": [{"type": "root_path", "frames": [0, 1], "positions_xz": [[0, 0], [9, 0]]}]},
     400, "invalid_options", "constraints"),
    ({"constraints": [{"type": "root_path", "frames": [0], "positions_xz": [[0, 0]], "heading_radians": [0]}]},
     400, "invalid_request", "heading_radians"),
    ({"options": {"seed": -1}}, 400, "invalid_options", "seed"),
    ({"options": {"num_samples": 17}}, 422, "schema_validation", "num_samples"),
    ({"options": {"diffusion_steps": 500}}, 400, "invalid_options", "num_steps"),
    ({"options": {"guidance": {"type": "separated", "weight": [1, 2]}}}, 400, "invalid_options", "separated"),
    ({"options": {"model_options": {"preset": "best"}}}, 400, "invalid_options", "preset"),
    ({"options": {"model_options": {"mood": 1}}}, 400, "invalid_options", "mood"),
    ({"extra": 1}, 422, "schema_validation", "extra"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "status", "code", "words"), BAD)
def test_bad_input_is_refused_in_the_protocols_words(
    ingress: Any, stages: Any, asked: dict[str, Any], change: dict[str, Any], status: int, code: str, words: str
) -> None:
    refused(generate(ingress, asked | change), status, code, words)
    assert not stages.requests


@pytest.mark.parametrize("body", [b"", b"{", b"[" * 100_000, b'{"requests": 3, "protocol_version": "1.0"}', b"\xff"])
def test_broken_bodies(ingress: Any, body: bytes) -> None:
    answer = ingress.ask("POST", "/mmcp/generate", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422, answer.text
    assert answer.json()["error"]["code"] == "schema_validation"


def failures() -> Iterator[tuple[Exception, int, str]]:
    yield BackendUnavailable("gone"), 503, "model_unavailable"
    yield DeadlineExceeded("late"), 504, "timeout"
    yield RuntimeError("a defect"), 500, "internal_error"


@pytest.mark.parametrize(("error", "status", "code"), failures())
def test_failures_behind_the_door(
    ingress: Any, stages: Any, asked: dict[str, Any], error: Exception, status: int, code: str
) -> None:
    async def fail(request: MotionRequest) -> None:
        raise error

    stages.action = fail
    answer = generate(ingress, asked | {"options": {"num_samples": 3}})
    refused(answer, status, code, "")
    assert "a defect" not in answer.text


def test_a_server_with_keys_asks_for_one(ingress: Any, asked: dict[str, Any]) -> None:
    assert generate(ingress, asked, settings={"api_keys": KEYS}).status_code == 401
    answer = generate(ingress, asked, settings={"api_keys": KEYS}, headers={"Authorization": f"Bearer {KEY}"})
    assert answer.status_code == 200, answer.text[:500]


def test_a_batch_answers_each_for_itself(ingress: Any, asked: dict[str, Any]) -> None:
    batch = {"protocol_version": "1.0", "requests": [asked, asked | {"model": "other"}]}
    results = generate(ingress, batch).json()["results"]
    assert "gltf" in results[0]
    assert results[1]["error"]["code"] == "unknown_model"
