"""A leader over HTTP: bad ones get a problem that names the field, good ones arrive and decide the length."""

import base64
from typing import Any

import numpy as np
import pytest

from choreo.motion.clip import Motion
from choreo.motion.formats.npz import npz_bytes
from choreo.motion.performance import Performance
from choreo.motion.skeleton import NUM_JOINTS, REST_OFFSETS


def standing(frames: int, scale: float = 1.0) -> Motion:
    positions = np.zeros((frames, NUM_JOINTS, 3), np.float32)
    parents = (0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19)
    for joint in range(1, NUM_JOINTS):
        positions[:, joint] = positions[:, parents[joint]] + REST_OFFSETS[joint]
    return Motion((positions + np.array((0, 0.95, 0))).astype(np.float32) * np.float32(scale))


def sent(motion: Motion | Performance) -> str:
    return base64.b64encode(npz_bytes(motion)).decode()


def with_nan() -> str:
    broken = standing(60)
    broken.positions[7, 3] = np.nan
    return sent(broken)


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"leader": sent(standing(1))}, "leader"),
        ({"leader": with_nan()}, "leader.positions"),
        ({"leader": sent(standing(60, 0.01))}, "leader"),
        ({"leader": sent(Performance((standing(60), standing(60))))}, "leader"),
        ({"leader": base64.b64encode(b"HIERARCHY").decode()}, "leader"),
        ({"leader": sent(standing(60)), "duration": 3.0}, "duration"),
        ({"leader": sent(standing(60)), "on_beat": True}, "on_beat"),
        ({"leader": sent(standing(60)), "constraints": {"loop": True}}, "constraints"),
        ({"leader_follows": True, "text_prompt": "a waltz"}, "leader_follows"),
    ],
)
def test_bad_leaders(ingress: Any, stages: Any, check_problem: Any, values: dict[str, Any], field: str) -> None:
    check_problem(ingress.generate(values), 422, field)
    assert not stages.requests


@pytest.mark.parametrize("duration", [None, 1.0])
def test_a_leader_arrives_and_decides_the_length(ingress: Any, stages: Any, duration: float | None) -> None:
    given = {"leader": sent(standing(60)), "leader_follows": True} | (
        {} if duration is None else {"duration": duration}
    )
    assert ingress.generate(given).status_code == 200
    request = stages.requests[-1]
    assert request.leader.num_frames == 60
    assert request.leader_follows
    assert request.num_frames == (60 if duration is None else 30)
    assert not request.use_rag
    assert request.finish.on_beat is False
