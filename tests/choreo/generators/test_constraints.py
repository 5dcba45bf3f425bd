"""What contradicts itself is refused with the field and the frame."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from choreo.errors import InvalidInput
from choreo.generators.constraints import (
    FREE,
    Constraints,
    KeyPose,
    check_constraints,
    check_length,
    check_way,
    key_pose,
)
from choreo.motion.clip import Motion
from choreo.motion.skeleton import NUM_JOINTS

POSE = np.zeros((NUM_JOINTS, 3)) + np.arange(NUM_JOINTS)[:, None] / 20
CLIP = Motion(np.tile(POSE, (40, 1, 1)).astype(np.float32))


def at(*frames: int) -> tuple[KeyPose, ...]:
    return tuple(KeyPose(frame, POSE, f"constraints.keyframes.{i}") for i, frame in enumerate(frames))


def test_nothing_given_is_false_and_each_kind_is_true() -> None:
    assert not FREE
    assert not Constraints(clip=CLIP)
    for given in ({"end": CLIP}, {"key_poses": at(3)}, {"loop": True}, {"in_place": True}, {"path": np.zeros((2, 3))}):
        assert Constraints(**given)
    assert Constraints(clip=CLIP, hold=((0, 3),))


@pytest.mark.parametrize(
    ("given", "field", "says"),
    [
        ({"key_poses": at(4, 9, 9)}, "constraints.keyframes.2", "frame 9, as constraints.keyframes.1"),
        ({"hold": ((0, 3),)}, "clip", "needed"),
        ({"clip": CLIP, "hold": ((5, 3),)}, "constraints.hold.0", "got 5 and 3"),
        ({"clip": CLIP, "hold": ((-1, 3),)}, "constraints.hold.0", "got -1 and 3"),
        ({"clip": CLIP, "hold": ((0, 9), (9, 12))}, "constraints.hold.1", "frame 9"),
        ({"clip": CLIP, "hold": ((0, 40),)}, "constraints.hold.0", "frame 40, but the clip has 40 frames"),
        ({"path": np.array([[0, 0, 0], [1.0, 30, 0]])}, "constraints.path.1", "30.0 m/s"),
        ({"path": np.array([[0, 0, 0], [2.0, 0, 0], [1.0, 0, 0]])}, "constraints.path.2", "1 s"),
        ({"path": np.array([[0, 0, 0], [0.01, 0, 0]])}, "constraints.path.1", "0.01 s"),
        ({"path": np.array([[0.0, 0, 0], [1, 0, 0]]), "in_place": True}, "constraints.in_place", "path"),
        ({"clip": CLIP, "hold": ((0, 3),), "in_place": True}, "constraints.in_place", "hold"),
        ({"end": CLIP, "loop": True}, "constraints.loop", "end"),
    ],
)
def test_contradictions_are_refused(given: dict[str, Any], field: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says) as caught:
        check_constraints(Constraints(**given))
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("given", "start", "field", "says"),
    [
        ({"key_poses": at(3, 60)}, 0, "constraints.keyframes.1", "frame 60, but the motion has 60 frames"),
        ({"key_poses": at(3)}, 5, "constraints.keyframes.0", "frame 3"),
        ({"clip": CLIP, "hold": ((0, 9), (20, 39))}, 8, "constraints.hold.0", "frame 0"),
        ({"clip": CLIP, "hold": ((10, 39),), "end": CLIP}, 0, "end", "frame 20"),
        ({"end": replace(CLIP, positions=np.tile(CLIP.positions, (2, 1, 1)))}, 0, "end", "nothing is left"),
        ({"path": np.array([[0, 0, 0], [2.0, 1, 0]])}, 0, "constraints.path.1", "2 s"),
    ],
)
def test_what_lies_outside_of_the_motion_is_refused(given: dict[str, Any], start: int, field: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says) as caught:
        check_length(Constraints(**given), start, 60)
    assert caught.value.field == field


def test_constraints_that_leave_nothing_to_generate_are_refused() -> None:
    with pytest.raises(InvalidInput, match="every one of the 40 frames"):
        check_length(Constraints(clip=CLIP, hold=((0, 39),)), 0, 40)
    check_length(Constraints(clip=CLIP, hold=((0, 38),)), 0, 40)
    check_length(Constraints(key_poses=at(39), path=np.array([[0, 0, 0], [39 / 30, 1, 0]])), 0, 40)


@pytest.mark.parametrize(
    "pose", [[[0.0] * 3] * 21, [[0.0] * 3] * 23, [[0.0] * 2] * 22, [0.0] * 66, [], [[0.0], [1, 2]]]
)
def test_poses_of_another_skeleton_are_refused(pose: Any) -> None:
    with pytest.raises(InvalidInput, match="22") as caught:
        key_pose(3, pose, "constraints.keyframes.4")
    assert caught.value.field == "constraints.keyframes.4.pose"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e6])
def test_poses_with_absurd_numbers_are_refused(value: float) -> None:
    pose = POSE.tolist()
    pose[7][1] = value
    with pytest.raises(InvalidInput) as caught:
        key_pose(3, pose, "constraints.keyframes.4")
    assert caught.value.field == "constraints.keyframes.4.pose"


def test_ways_between_places_are_no_faster_than_a_dancer() -> None:
    frames, none = np.array([0, 30]), np.zeros(2, np.int64)
    check_way(frames, np.array([[0.0, 0], [5.9, 0]]), none, 30)
    with pytest.raises(InvalidInput, match=r"7\.0 m from frame 0 to frame 30"):
        check_way(frames, np.array([[0.0, 0], [7.0, 0]]), none, 30)
    check_way(np.array([0, 1]), np.array([[0.0, 0], [7.0, 0]]), np.array([1, 1]), 30)  # within a clip
