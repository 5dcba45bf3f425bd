from typing import Any

import numpy as np
import pytest

from choreo.errors import InvalidInput
from choreo.motion.clip import Motion
from choreo.motion.formats.npz import npz_bytes
from serving.pipeline.fields import parse_fields
from serving.pipeline.request import Attachments
from serving.pipeline.validation import validated_request
from serving.settings import Settings


def build(parts: Attachments | None = None, **fields: Any) -> Any:
    return validated_request(parse_fields(fields), parts or Attachments(), Settings())


def test_how_long_all_samples_may_be_is_said() -> None:
    with pytest.raises(InvalidInput, match=r"16 dances of 600\.0 s exceed the 3600 s .* at most 6"):
        build(text_prompt="a", num_samples=16, duration=600)
    assert build(text_prompt="a", num_samples=6, duration=600).num_samples == 6


def test_a_start_must_leave_something_to_generate() -> None:
    start = npz_bytes(Motion(np.zeros((60, 22, 3), np.float32)))
    assert build(Attachments(start=start), text_prompt="a").start.num_frames == 60
    with pytest.raises(InvalidInput) as error:
        build(Attachments(start=start), text_prompt="a", duration=2.0)
    assert error.value.field == "start"


@pytest.mark.parametrize(
    ("seconds", "fps", "fits"), [(4, 60, True), (2, 120, True), (6.4, 120, True), (9, 20, False), (7, 10, False)]
)
def test_a_start_is_compared_with_the_dance_in_seconds(seconds: float, fps: float, fits: bool) -> None:
    start = npz_bytes(Motion(np.zeros((round(seconds * fps), 22, 3), np.float32), fps))
    if fits:
        assert build(Attachments(start=start), text_prompt="a").start.fps == fps
        return
    with pytest.raises(InvalidInput, match=rf"lasts {seconds:.2f} s and the dance 6.53 s") as error:
        build(Attachments(start=start), text_prompt="a")
    assert error.value.field == "start"
