"""Requests that guide prompt and song separately."""

import io
from typing import Any

import numpy as np
import pytest

from choreo.errors import InvalidInput
from serving.pipeline.fields import parse_fields
from serving.pipeline.guidance import separate_guidance
from serving.pipeline.request import Attachments
from serving.pipeline.validation import validated_request
from serving.settings import Settings

SONG = Attachments(audio=b"RIFF")


def build(parts: Attachments, **fields: Any) -> Any:
    return validated_request(parse_fields(fields), parts, Settings())


def features() -> Attachments:
    file = io.BytesIO()
    np.save(file, np.zeros((60, 35), np.float32))
    return Attachments(features=file.getvalue())


@pytest.mark.parametrize("parts", [SONG, features()])
def test_scales_are_taken_where_there_is_something_to_weigh(parts: Attachments) -> None:
    job = build(parts, text_prompt="a", text_guidance=0.0, music_guidance=20)
    assert (job.text_guidance, job.music_guidance, job.guidance_scale) == (0.0, 20, 2.5)
    assert build(parts, music_guidance=1.5).music_guidance == 1.5
    assert build(Attachments(), text_prompt="a", text_guidance=1.5).text_guidance == 1.5
    segment = {"start": 0.0, "end": 1.0, "text": "spins"}
    assert build(parts, segments=[segment], text_guidance=4.0).text_guidance == 4.0


def test_without_them_there_is_one_scale() -> None:
    job = build(SONG, text_prompt="a", text_guidance=None)
    assert job.text_guidance is None
    assert job.music_guidance is None


@pytest.mark.parametrize("field", ["text_guidance", "music_guidance"])
@pytest.mark.parametrize("value", [-0.1, 20.1, float("nan"), float("inf"), "2", True, [1.0]])
def test_scales_out_of_bounds_are_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(InvalidInput) as error:
        build(SONG, text_prompt="a", **{field: value})
    assert error.value.field == field


@pytest.mark.parametrize(
    ("parts", "fields", "says"),
    [
        (Attachments(), {"text_prompt": "a", "music_guidance": 2.0}, "music_guidance: is about the song"),
        (SONG, {"text_guidance": 2.0}, "text_guidance: is about the prompt"),
        (SONG, {"text_prompt": "", "text_guidance": 2.0}, "text_guidance: is about the prompt"),
        (SONG, {"sampler": "lcm", "music_guidance": 2.0}, "music_guidance: is not for the sampler lcm"),
        (SONG, {"text_prompt": "a", "sampler": "lcm", "text_guidance": 1.0}, "text_guidance: is not for the sampler"),
    ],
)
def test_scales_with_nothing_to_weigh_are_refused(parts: Attachments, fields: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        build(parts, **fields)


def test_a_motion_says_both_scales_where_one_was_given() -> None:
    assert separate_guidance(2.5, None, None) == {}
    assert separate_guidance(2.5, None, 4.0) == {"text_guidance": 2.5, "music_guidance": 4.0}
    assert separate_guidance(2.5, 0.0, None) == {"text_guidance": 0.0, "music_guidance": 2.5}
