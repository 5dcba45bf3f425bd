"""Prompts over time: the sentence that each window follows."""

import numpy as np
import pytest
from tiny_training import clips, recipe

from choreo.generators.base import Conditioning, GenerationRequest
from choreo.generators.registry import generator
from choreo.generators.text_segments import TextSegment, segment_of
from choreo.generators.unet.training import generator_config


@pytest.mark.parametrize(
    ("start", "spans", "found"),
    [
        (0, [], None),
        (0, [(0, 196)], 0),
        (0, [(0, 98), (98, 500)], 0),
        (132, [(0, 98), (98, 500)], 1),
        (0, [(150, 500)], None),
        (0, [(400, 500)], None),
        (264, [(0, 300), (300, 340)], 1),  # the motion ends at 340: 36 frames of the first, 40 of the second
    ],
)
def test_a_window_follows_what_most_of_it_lies_in(start: int, spans: list[tuple[int, int]], found: int | None) -> None:
    assert segment_of(start, 196, 340, spans) == found


@pytest.mark.parametrize("base", [True, False])
def test_windows_get_the_text_of_their_segment_and_others_that_of_the_motion(base: bool) -> None:
    spec = generator_config(recipe(), clips()).spec
    made, width = generator(spec), spec.text_dim
    segment = TextSegment(0, spec.window, np.full(width, 2, np.float32))
    text = np.full(width, 1, np.float32) if base else None
    conditioning = Conditioning(10 * spec.window, text=text, segments=(segment,))
    starts = [0, 5 * spec.window]
    inputs = made.conditioner_inputs(conditioning, starts)  # type: ignore[attr-defined]
    assert inputs["text"][:, 0].tolist() == [2, 1 if base else 0, 0]
    assert inputs["has_text"][:, 0].tolist() == [1, float(base), 0]
    assert made.begin(GenerationRequest(), conditioning).rows > 1
