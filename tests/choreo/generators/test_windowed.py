"""Specs that do not have what windowed diffusion needs, and its trajectory over both graphs."""

import numpy as np
import pytest
from tiny_generator import tiny_spec

from choreo.errors import InvalidArtifact, InvalidInput
from choreo.generators.base import Conditioning, GenerationRequest, Tensors, run, zeros
from choreo.generators.registry import generator
from choreo.generators.spec import GeneratorSpec, TensorSpec
from choreo.generators.windowed import WindowedDiffusion
from choreo.music.beats import RHYTHM_WIDTHS, beat_phase_channels

DENOISER_INPUTS = tiny_spec().graph("denoiser").inputs


def changed(graph: str, **fields: object) -> GeneratorSpec:
    spec = tiny_spec()
    graphs = [g.model_copy(update=fields) if g.name == graph else g for g in spec.graphs]
    return spec.model_copy(update={"graphs": tuple(graphs)})


def without(graph: str, tensor: str) -> GeneratorSpec:
    inputs = tiny_spec().graph(graph).inputs
    return changed(graph, inputs=tuple(t for t in inputs if t.name != tensor))


def with_rhythm(*shape: int) -> GeneratorSpec:
    inputs = [t.model_copy(update={"shape": shape}) if t.name == "rhythm" else t for t in DENOISER_INPUTS]
    return changed("denoiser", inputs=tuple(inputs))


@pytest.mark.parametrize("channels", RHYTHM_WIDTHS)
def test_a_denoiser_gets_as_many_rhythm_channels_as_it_takes(channels: int) -> None:
    made = generator(with_rhythm(tiny_spec().window, channels))
    assert isinstance(made, WindowedDiffusion)
    beats = np.arange(0, 2, 0.5)
    heard = Conditioning(60, beats=beats, onset=np.ones(60, np.float32), downbeats=beats[::2])
    rhythm = made.timelines(GenerationRequest(), heard, 70)["rhythm"]
    every = beat_phase_channels(beats, np.ones(60), 60, downbeats=beats[::2])
    np.testing.assert_array_equal(rhythm[:60], every[:, :channels])
    assert rhythm.shape == (70, channels)
    assert not rhythm[60:].any()


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        (with_rhythm(tiny_spec().window, 5), "'rhythm' of its denoiser must have 4 or 8 channels"),
        (with_rhythm(tiny_spec().window), "'rhythm' of its denoiser must have 4 or 8 channels"),
        (with_rhythm(1, 8), "'rhythm' of its denoiser must have the shape"),
        (without("denoiser", "x"), "tiny: its denoiser has no input 'x'"),
        (without("conditioner", "text"), "tiny: its conditioner has no input 'text'"),
        (
            changed("denoiser", inputs=(*DENOISER_INPUTS, TensorSpec(name="smell", shape=(1,)))),
            "nothing is known of the input 'smell'",
        ),
        (changed("conditioner", outputs=(TensorSpec(name="context", shape=(3, 5)),)), "no output 'context_mask'"),
        (changed("denoiser", outputs=(TensorSpec(name="x0", shape=(8, 3)),)), "one output of shape"),
        (changed("denoiser", name="decoder"), "has no graph 'denoiser'"),
        (tiny_spec().model_copy(update={"parameters": {"schedule": "none"}}), "tiny: the parameters"),
    ],
)
def test_a_spec_that_lacks_something_is_refused_by_name(spec: GeneratorSpec, says: str) -> None:
    with pytest.raises(InvalidArtifact, match=says):
        generator(spec)


class FakeGraphs:
    """Graphs that compute next to nothing, and remember their calls."""

    def __init__(self, spec: GeneratorSpec) -> None:
        self.spec, self.calls = spec, list[tuple[str, int]]()

    def __call__(self, graph: str, inputs: Tensors) -> Tensors:
        rows = len(next(iter(inputs.values())))
        self.calls.append((graph, rows))
        if graph == "denoiser":
            return {"x0": np.tanh(inputs["x"]) + inputs["context"].sum((1, 2))[:, None, None]}
        shapes = self.spec.graph(graph).output_shapes
        return {n: np.ones((rows, *s), np.float32) * inputs["has_text"].mean() for n, s in shapes.items()}


def dance(request: GenerationRequest, frames: int = 8, cache: dict[bytes, object] | None = None) -> tuple:
    spec = tiny_spec()
    graphs = FakeGraphs(spec)
    text = np.ones(7, np.float32)
    trajectory = generator(spec).begin(
        request, Conditioning(frames, text=text), FakeCache({} if cache is None else cache)
    )
    run([trajectory], graphs, lambda graph, rows: zeros(spec.graph(graph), rows))
    return trajectory, graphs


class FakeCache:
    def __init__(self, rows: dict) -> None:
        self.rows = rows

    def get(self, key: bytes):
        return self.rows.get(key)

    def put(self, key: bytes, value) -> None:
        self.rows[key] = value


def test_the_conditioner_is_asked_once_and_the_denoiser_at_every_step() -> None:
    trajectory, graphs = dance(GenerationRequest(num_steps=3, guidance_scale=2.0))
    assert graphs.calls == [("conditioner", 2), ("denoiser", 2), ("denoiser", 2), ("denoiser", 2)]
    assert trajectory.evaluated == {"conditioner": 2, "denoiser": 6}
    assert trajectory.done
    assert trajectory.result().shape == (8, 4)


def test_without_guidance_there_is_no_null_row() -> None:
    _, graphs = dance(GenerationRequest(num_steps=2, guidance_scale=1.0))
    assert graphs.calls == [("conditioner", 1), ("denoiser", 1), ("denoiser", 1)]


def test_rows_that_are_known_are_not_computed_again() -> None:
    cache: dict[bytes, object] = {}
    first, _ = dance(GenerationRequest(num_steps=2), cache=cache)
    assert first.evaluated["conditioner"] == 2
    spec = tiny_spec()
    again = generator(spec).begin(
        GenerationRequest(num_steps=2), Conditioning(8, text=np.ones(7, np.float32)), FakeCache(cache)
    )
    assert again.graph == "denoiser"


def test_an_unknown_sampler_is_bad_input() -> None:
    with pytest.raises(InvalidInput, match="sampler"):
        generator(tiny_spec()).begin(GenerationRequest(sampler="euler"), Conditioning(8))
