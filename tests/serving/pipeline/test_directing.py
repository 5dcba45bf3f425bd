"""Fields that direct a motion: what they become, and what is refused with the item's name."""

import json
from typing import Any

import numpy as np
import pytest

from choreo.errors import InvalidInput
from choreo.generators.constraints import FREE
from choreo.motion.clip import Motion
from choreo.motion.formats.npz import npz_bytes
from serving.pipeline.directing import MAX_SEPARATORS, Segment, structured
from serving.pipeline.fields import GenerateFields, parse_fields
from serving.pipeline.request import Attachments, MotionRequest
from serving.pipeline.text_values import typed_text
from serving.pipeline.validation import validated_request
from serving.settings import Settings

POSE = [[0.0, j / 20, 0.1] for j in range(22)]
CLIP = npz_bytes(Motion(np.tile(np.array(POSE, np.float32), (60, 1, 1)), 60))
"""60 frames at 60 fps: frames 0 to 29 at 30."""


def build(parts: dict[str, bytes] | None = None, **fields: Any) -> MotionRequest:
    fields = {"text_prompt": "a", "duration": 4.0} | fields
    return validated_request(parse_fields(fields), Attachments(**(parts or {})), Settings())


def test_nothing_is_directed_by_default() -> None:
    request = build()
    assert request.constraints is FREE
    assert (request.segments, request.fps) == ((), None)
    assert build(constraints={}).constraints is FREE


def test_what_is_given_becomes_constraints_in_order() -> None:
    made = build(
        {"clip": CLIP, "end": CLIP, "start": CLIP},
        constraints={
            "keyframes": [{"frame": 80, "pose": POSE}, {"time": 1.5, "clip_frame": 29}],
            "path": [[2.0, 0, 0], [3, 1, 1]],
            "in_place": False,
        },
    ).constraints
    assert [(pose.frame, pose.field) for pose in made.key_poses] == [
        (45, "constraints.keyframes.1"), (80, "constraints.keyframes.0"),
    ]  # fmt: skip
    assert made.path is not None
    assert made.path.tolist() == [[2, 0, 0], [3, 1, 1]]
    assert made.end is not None
    assert build({"clip": CLIP}, constraints={"hold": [[0, 9], [20, 29]]}).constraints.hold == ((0, 9), (20, 29))


def test_prompts_over_time_and_the_rate() -> None:
    given = [{"start": 0, "end": 1.5, "text": "walk"}, {"start": 1.5, "end": 9, "text": "jump"}]
    request = build(segments=given, fps=60)
    assert request.segments == (Segment(0, 1.5, "walk"), Segment(1.5, 9, "jump"))
    assert request.fps == 60
    assert request.delivered_frames(120, 30) == 239


@pytest.mark.parametrize(
    ("constraints", "field"),
    [
        (3, "constraints"),
        ([], "constraints"),
        ({"keyframe": []}, "constraints.keyframe"),
        ({"keyframes": [{"frame": 3, "pose": POSE, "joint": 1}]}, "constraints.keyframes.0.joint"),
        ({"keyframes": [{"pose": POSE}]}, "constraints.keyframes.0"),
        ({"keyframes": [{"frame": 3, "time": 0.1, "pose": POSE}]}, "constraints.keyframes.0"),
        ({"keyframes": [{"frame": 3}]}, "constraints.keyframes.0"),
        ({"keyframes": [{"frame": 3, "pose": POSE, "clip_frame": 0}]}, "constraints.keyframes.0"),
        ({"keyframes": [{"frame": 3, "clip_frame": 30}]}, "constraints.keyframes.0.clip_frame"),
        ({"keyframes": [{"frame": -1, "pose": POSE}]}, "constraints.keyframes.0.frame"),
        ({"keyframes": [{"frame": 10**9, "pose": POSE}]}, "constraints.keyframes.0.frame"),
        ({"keyframes": [{"frame": "3", "pose": POSE}]}, "constraints.keyframes.0.frame"),
        ({"keyframes": [{"time": float("nan"), "pose": POSE}]}, "constraints.keyframes.0.time"),
        ({"keyframes": [{"time": 1e300, "pose": POSE}]}, "constraints.keyframes.0.time"),
        ({"keyframes": [{"frame": 1, "pose": POSE}, {"frame": 3, "pose": POSE[:21]}]}, "constraints.keyframes.1.pose"),
        ({"keyframes": [{"frame": 3, "pose": [*POSE[:21], [0, 0, float("nan")]]}]}, "constraints.keyframes.0.pose"),
        ({"keyframes": [{"frame": 3, "pose": [*POSE[:21], [0, "x", 0]]}]}, "constraints.keyframes.0.pose.21.1"),
        ({"keyframes": [{"frame": 3, "pose": "AAAA"}]}, "constraints.keyframes.0.pose"),
        ({"keyframes": [{"frame": 7, "pose": POSE}, {"time": 7 / 30, "pose": POSE}]}, "constraints.keyframes.1"),
        ({"keyframes": [{"frame": 120, "pose": POSE}]}, "constraints.keyframes.0"),
        ({"keyframes": [{"frame": i, "pose": POSE} for i in range(65)]}, "constraints.keyframes"),
        ({"hold": [[0, 9, 12]]}, "constraints.hold.0"),
        ({"hold": [[0, 30]]}, "constraints.hold.0"),
        ({"hold": [[0, 1.5]]}, "constraints.hold.0.1"),
        ({"hold": [[0, 9], [5, 12]]}, "constraints.hold.1"),
        ({"path": [[0, 0, 0]]}, "constraints.path"),
        ({"path": [[0, 0], [1, 1]]}, "constraints.path.0"),
        ({"path": [[0, 0, 0], [1, 30, 0]]}, "constraints.path.1"),
        ({"path": [[1, 0, 0], [0.5, 0, 0]]}, "constraints.path.1"),
        ({"path": [[0, 0, 0], [1, float("inf"), 0]]}, "constraints.path.1"),
        ({"path": [[0, 0, 0], [1e9, 0, 0]]}, "constraints.path.1"),
        ({"path": [[0, 0, 0], [4.5, 1, 0]]}, "constraints.path.1"),
        ({"loop": 1}, "constraints.loop"),
        ({"in_place": "true"}, "constraints.in_place"),
    ],
)
def test_bad_constraints_are_refused_by_name(constraints: Any, field: str) -> None:
    needs_clip = "hold" in str(constraints) or "clip_frame" in str(constraints)
    with pytest.raises(InvalidInput) as caught:
        build({"clip": CLIP} if needs_clip else {}, constraints=constraints)
    assert caught.value.field == field
    assert len(str(caught.value)) < 300


def test_a_clip_that_nothing_is_taken_of_is_refused() -> None:
    with pytest.raises(InvalidInput, match="of no use") as caught:
        build({"clip": CLIP}, constraints={"loop": True})
    assert caught.value.field == "clip"


def test_spans_that_cover_everything_are_refused() -> None:
    with pytest.raises(InvalidInput, match="every one of the 30 frames"):
        build({"clip": CLIP}, constraints={"hold": [[0, 29]]}, duration=1.0)


def test_a_span_or_a_pose_of_a_clip_needs_the_clip() -> None:
    for constraints in ({"hold": [[0, 9]]}, {"keyframes": [{"frame": 3, "clip_frame": 3}]}):
        with pytest.raises(InvalidInput, match="needed") as caught:
            build(constraints=constraints)
        assert caught.value.field == "clip"


@pytest.mark.parametrize(
    ("segments", "field"),
    [
        ([], "segments"),
        ({}, "segments"),
        ([{"start": 0, "end": 1}], "segments.0.text"),
        ([{"start": 0, "end": 1, "text": "a", "x": 1}], "segments.0.x"),
        ([{"start": 0, "end": 1, "text": ""}], "segments.0.text"),
        ([{"start": 1, "end": 1, "text": "a"}], "segments.0.end"),
        ([{"start": float("nan"), "end": 1, "text": "a"}], "segments.0.start"),
        ([{"start": -1, "end": 1, "text": "a"}], "segments.0.start"),
        ([{"start": 0, "end": 2, "text": "a"}, {"start": 1.9, "end": 3, "text": "b"}], "segments.1"),
        ([{"start": 2, "end": 3, "text": "a"}, {"start": 0, "end": 1, "text": "b"}], "segments.1"),
        ([{"start": 4, "end": 5, "text": "a"}], "segments.0.start"),
    ],
)
def test_bad_prompts_over_time_are_refused_by_name(segments: Any, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        build(segments=segments)
    assert caught.value.field == field


@pytest.mark.parametrize("fps", [0, -1, 121, 1e9, float("nan"), "60"])
def test_bad_rates_are_refused(fps: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        build(fps=fps)
    assert caught.value.field == "fps"


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[" * 50_000, '{"loop": NaN}', "[" * 9 + "]" * 9, "[" + "0," * MAX_SEPARATORS + "0]",
        '{"path": [[0, 0, -Infinity]]}', '"' + "x" * (1 << 20) + '"',
    ],
)  # fmt: skip
def test_texts_that_are_no_constraints_are_refused(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        structured("constraints", text)
    assert caught.value.field == "constraints"
    assert len(str(caught.value)) < 200


def test_forms_and_tables_have_them_as_json_text() -> None:
    given = {"loop": True, "path": [[0, 0, 0], [1, 1, 0]]}
    assert typed_text("constraints", json.dumps(given), GenerateFields) == given
    assert typed_text("beats", "0,1", GenerateFields) == [0, 1]
