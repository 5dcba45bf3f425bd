"""Text and music guided separately: three rows per window, and what comes of them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from tiny_generator import tiny_spec

from choreo.errors import InvalidInput
from choreo.generators.base import Conditioning, GenerationRequest, Tensors, run, zeros
from choreo.generators.registry import generator
from choreo.generators.spec import GeneratorSpec

SPEC = tiny_spec(window=196)
FRAMES, LONG = 196, 500
TEXT, MUSIC, PRIOR, RHYTHM = 3.0, 5.0, 0.25, 0.5
"""What each condition adds to the prediction of the fake denoiser."""


class FakeGraphs:
    """A denoiser whose prediction is a sum of what it is given; keeps what both graphs were sent."""

    def __init__(self) -> None:
        self.calls: dict[str, list[Tensors]] = {"conditioner": [], "denoiser": []}

    def __call__(self, graph: str, inputs: Tensors) -> Tensors:
        self.calls[graph].append({name: values.copy() for name, values in inputs.items()})
        shapes = SPEC.graph(graph).output_shapes
        rows = len(next(iter(inputs.values())))
        if graph == "conditioner":
            heard = TEXT * inputs["has_text"] + MUSIC * inputs["has_music"]
            return {n: np.broadcast_to(heard.reshape(-1, *[1] * len(s)), (rows, *s)) for n, s in shapes.items()}
        given = PRIOR * inputs["prior"][..., -1:] + RHYTHM * inputs["rhythm"].any(axis=2, keepdims=True)
        out = 0.25 * np.tanh(inputs["x"]) + inputs["context"][:, :1, :1] + given
        return {"x0": out.astype(np.float32)}


def heard(frames: int = FRAMES, **changes: Any) -> Conditioning:
    values = {
        "text": np.ones(SPEC.text_dim, np.float32),
        "music": np.ones((frames, SPEC.music_dim), np.float32),
        "beats": np.arange(0, frames / 30, 0.1),
        "onset": np.ones(frames, np.float32),
    }
    return Conditioning(frames, **(values | changes))


def wanted(frames: int = FRAMES, **changes: Any) -> GenerationRequest:
    prior = {"prior": np.ones((frames, 4), np.float32), "prior_mask": np.ones(frames, np.float32)}
    return GenerationRequest(**({"num_steps": 3, "seed": 4} | prior | changes))


class FakeCache(dict[bytes, Any]):
    def put(self, key: bytes, value: Mapping[str, Any]) -> None:
        self[key] = value


def dance(request: GenerationRequest, conditioning: Conditioning, cache: Any = None) -> tuple[Any, FakeGraphs]:
    graphs = FakeGraphs()
    trajectory = generator(SPEC).begin(request, conditioning, cache)
    run([trajectory], graphs, lambda graph, rows: zeros(SPEC.graph(graph), rows))
    return trajectory, graphs


@pytest.mark.parametrize("frames", [FRAMES, LONG])
@pytest.mark.parametrize("scale", [0.0, 2.5, 7.0])
def test_equal_scales_are_the_common_one(scale: float, frames: int) -> None:
    common, _ = dance(wanted(frames, guidance_scale=scale), heard(frames))
    separate, _ = dance(wanted(frames, guidance_scale=9.0, text_guidance=scale, music_guidance=scale), heard(frames))
    np.testing.assert_allclose(separate.result(), common.result(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("text", "music", "added"),
    [
        (2.5, 4.0, 2.5 * TEXT + 4 * (MUSIC + PRIOR + RHYTHM)),
        (1.0, 0.0, TEXT),
        (0.0, 2.0, 2 * (MUSIC + PRIOR + RHYTHM)),
        (None, 0.5, 3 * TEXT + 0.5 * (MUSIC + PRIOR + RHYTHM)),
        (0.5, None, 0.5 * TEXT + 3 * (MUSIC + PRIOR + RHYTHM)),
    ],
)
def test_each_condition_counts_by_its_own_scale(text: float | None, music: float | None, added: float) -> None:
    request = wanted(num_steps=1, guidance_scale=3.0, text_guidance=text, music_guidance=music)
    trajectory, graphs = dance(request, heard())
    x = graphs.calls["denoiser"][0]["x"][0]
    # One step from the noise gives the guided prediction itself.
    np.testing.assert_allclose(trajectory.result(), 0.25 * np.tanh(x) + added, rtol=1e-5)


def test_with_no_weight_music_is_not_heard() -> None:
    request = wanted(LONG, text_guidance=2.5, music_guidance=0.0, prior=None, prior_mask=None)
    silent = wanted(LONG, guidance_scale=2.5, prior=None, prior_mask=None)
    with_song, _ = dance(request, heard(LONG))
    without, _ = dance(silent, heard(LONG, music=None, beats=np.zeros(0), onset=np.zeros(0, np.float32)))
    np.testing.assert_allclose(with_song.result(), without.result(), rtol=1e-5, atol=1e-5)


def test_the_text_only_row_keeps_the_text_and_drops_music_rhythm_and_prior() -> None:
    _, graphs = dance(wanted(num_steps=1, text_guidance=2.0), heard())
    (encoded,), (denoised,) = graphs.calls["conditioner"], graphs.calls["denoiser"]
    full, text_only, nothing = ({name: values[i] for name, values in encoded.items()} for i in range(3))
    for name in ("text", "has_text"):
        np.testing.assert_array_equal(text_only[name], full[name])
    for name in ("music", "music_mask", "has_music"):
        np.testing.assert_array_equal(text_only[name], nothing[name])
    assert not nothing["has_text"].any()
    for name in ("rhythm", "prior"):
        assert denoised[name][0].any()
        assert not denoised[name][1:].any()
    np.testing.assert_allclose(denoised["context"][:, 0, 0], [TEXT + MUSIC, 0, TEXT])


def test_three_rows_are_evaluated_and_counted_where_guidance_acts() -> None:
    trajectory, graphs = dance(wanted(LONG, num_steps=4, music_guidance=4.0), heard(LONG))
    windows = len(graphs.calls["denoiser"][0]["x"]) // 3
    assert windows == 4
    assert trajectory.evaluated["denoiser"] == 4 * 3 * windows
    assert trajectory.evaluated["conditioner"] == sum(len(call["text"]) for call in graphs.calls["conditioner"])
    low, _ = dance(wanted(num_steps=4, music_guidance=4.0, guidance_interval=(0.5, 1.0)), heard())
    assert low.evaluated["denoiser"] == 2 * 3 + 2 * 1
    once, _ = dance(wanted(num_steps=4, text_guidance=1.0, music_guidance=1.0), heard())
    assert once.evaluated == {"conditioner": 1, "denoiser": 4}


def test_rows_of_the_conditioner_are_shared_with_requests_of_one_scale() -> None:
    cache = FakeCache()
    first, _ = dance(wanted(), heard(), cache)
    assert first.evaluated["conditioner"] == 2
    separate, _ = dance(wanted(music_guidance=4.0), heard(), cache)
    assert separate.evaluated["conditioner"] == 1  # the text-only row
    again, graphs = dance(wanted(text_guidance=1.5), heard(), cache)
    assert again.evaluated["conditioner"] == 0
    np.testing.assert_allclose(graphs.calls["denoiser"][0]["context"][:, 0, 0], [TEXT + MUSIC, 0, TEXT])


def test_the_order_of_the_rows_does_not_show() -> None:
    found = set()
    for order in ((0, 1, 2), (2, 0, 1), (1, 2, 0)):
        rng = np.random.default_rng(0)
        predictions = rng.normal(size=(3, SPEC.window, 4)).astype(np.float32)
        trajectory: Any = generator(SPEC).begin(wanted(num_steps=1, text_guidance=3.3, music_guidance=1.7), heard())
        for row in range(trajectory.rows):
            trajectory.add(row, {name: np.zeros(s, np.float32) for name, s in _context().items()})
        trajectory.advance()
        for row in order:
            trajectory.add(row, {"x0": predictions[row]})
        trajectory.advance()
        found.add(trajectory.result().tobytes())
    assert len(found) == 1


def _context() -> dict[str, tuple[int, ...]]:
    return SPEC.graph("conditioner").output_shapes


def distilled() -> GeneratorSpec:
    return SPEC.model_copy(update={"parameters": SPEC.parameters | {"distilled": True}})


@pytest.mark.parametrize("field", ["text_guidance", "music_guidance"])
def test_a_distilled_model_is_not_guided_separately(field: str) -> None:
    with pytest.raises(InvalidInput, match="within its weights") as error:
        generator(distilled()).begin(wanted(guidance_scale=1.0, **{field: 2.0}), heard())
    assert error.value.field == field
    generator(distilled()).begin(wanted(guidance_scale=1.0), heard())
