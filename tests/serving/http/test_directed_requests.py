"""Constraints over HTTP: bad ones get a problem that names the item, good ones arrive."""

import base64
import json
from typing import Any

import numpy as np
import pytest

from serving.pipeline.directing import MAX_DEPTH

TEXT = {"text_prompt": "a slow waltz"}
POSE = [[0.0, j / 20, 0.1] for j in range(22)]


def deep(levels: int) -> Any:
    return 0 if not levels else [deep(levels - 1)]


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"constraints": {"keyframes": [{"frame": 3, "pose": POSE[:5]}]}}, "constraints.keyframes.0.pose"),
        ({"constraints": {"keyframes": [{"frame": 999, "pose": POSE}]}}, "constraints.keyframes.0"),
        ({"constraints": {"keyframes": deep(MAX_DEPTH)}}, "constraints"),
        ({"constraints": "[]"}, "constraints"),
        ({"constraints": {"hold": [[0, 3]]}}, "clip"),
        ({"segments": [{"start": 0, "end": 3, "text": "a"}, {"start": 2, "end": 3, "text": "b"}]}, "segments.1"),
        ({"fps": 0}, "fps"),
        ({"end": "AAAA"}, "end"),
        ({"clip": "AAAA"}, "clip"),
        ({"constraints": {"keyframes": [{"frame": 3, "pose": [[0.0] * 3] * 9000}]}}, "body"),
    ],
)
def test_bad_directions(ingress: Any, stages: Any, check_problem: Any, values: dict[str, Any], field: str) -> None:
    check_problem(ingress.generate(TEXT | values), 422, field)
    assert not stages.requests


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_numbers_that_json_does_not_have_are_named(
    ingress: Any, stages: Any, check_problem: Any, constant: str
) -> None:
    body = f'{{"text_prompt": "x", "constraints": {{"path": [[0, 0, 0], [1, {constant}, 0]]}}}}'
    check_problem(ingress.raw(body.encode()), 422, "constraints.path.1.1")
    assert not stages.requests


def test_json_and_forms_ask_for_the_same(ingress: Any, stages: Any, standing: Any) -> None:
    given = {"hold": [[0, 9]], "path": [[2.0, 0, 0], [3.0, 1, 0]]}
    clip = standing(30)
    sent = TEXT | {"duration": 4.0, "fps": 24.0}
    answers = [
        ingress.generate(sent | {"constraints": given, "clip": base64.b64encode(clip).decode()}),
        ingress.form(
            {name: str(value) for name, value in sent.items()} | {"constraints": json.dumps(given)},
            {"clip": ("clip.npz", clip)},
        ),
    ]
    assert [answer.status_code for answer in answers] == [200, 200]
    one, two = (request.constraints for request in stages.requests)
    assert one.hold == two.hold == ((0, 9),)
    np.testing.assert_array_equal(one.path, two.path)
    np.testing.assert_array_equal(one.clip.positions, two.clip.positions)
