"""The contract of generators: what it refuses, and what is derived from it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from tiny_generator import tiny_spec

from choreo.generators.sample_inputs import sample_inputs
from choreo.generators.spec import GeneratorSpec, GraphSpec, Null, Role, TensorSpec

X = TensorSpec(name="x", shape=(4, 2))


def graph(**changes: object) -> GraphSpec:
    fields = {"name": "denoiser", "inputs": (X,), "outputs": (TensorSpec(name="x0", shape=(4, 2)),)}
    return GraphSpec.model_validate(fields | changes)


@pytest.mark.parametrize("kind", ["inputs", "outputs"])
def test_a_tensor_that_is_there_twice_is_refused_by_name(kind: str) -> None:
    with pytest.raises(ValidationError, match=r"'denoiser' has the (inputs|outputs) x more than once"):
        graph(**{kind: (X, X)})


@pytest.mark.parametrize("shape", [(), (0, 3), (4, -1)])
def test_shapes_are_positive(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValidationError, match="one size or more"):
        TensorSpec(name="x", shape=shape)


@pytest.mark.parametrize("name", ["", "X", "a.b", "1x", "x" * 33, "../x"])
def test_names_of_tensors_and_graphs_are_identifiers(name: str) -> None:
    with pytest.raises(ValidationError):
        TensorSpec(name=name, shape=(1,))
    with pytest.raises(ValidationError):
        graph(name=name)


def test_graphs_of_one_name_and_wrong_statistics_are_refused() -> None:
    fields = {"name": "g", "family": "unet", "mean": (0.0,), "std": (1.0,), "graphs": (graph(), graph())}
    with pytest.raises(ValidationError, match="denoiser more than once"):
        GeneratorSpec.model_validate(fields)
    for std in ((0.0,), (1.0, 1.0), ()):
        with pytest.raises(ValidationError, match="mean and std"):
            GeneratorSpec.model_validate(fields | {"graphs": (graph(),), "std": std})


def test_json_gives_the_same_spec() -> None:
    spec = tiny_spec()
    assert GeneratorSpec.model_validate_json(spec.model_dump_json()) == spec


def test_names_in_triton_carry_the_generator() -> None:
    assert tiny_spec("salsa-2").key("denoiser") == "salsa-2.denoiser"
    with pytest.raises(KeyError, match="tiny has no graph 'decoder'"):
        tiny_spec().graph("decoder")


@given(st.lists(st.floats(-1e3, 1e3), min_size=4, max_size=4))
def test_normalisation_is_inverted(values: list[float]) -> None:
    spec = tiny_spec(mean=(1.0, -2.0, 0.0, 3.0), std=(2.0, 0.5, 1.0, 10.0))
    np.testing.assert_allclose(spec.denormalize(spec.normalize(np.array([values]))), [values], rtol=1e-5, atol=1e-3)


def test_sample_inputs_follow_the_roles() -> None:
    denoiser = tiny_spec(num_train_timesteps=3).graph("denoiser")
    inputs = sample_inputs(denoiser, 200, seed=1)
    assert {name: tuple(values.shape[1:]) for name, values in inputs.items()} == denoiser.input_shapes
    assert set(inputs["t"].ravel().tolist()) == {0.0, 1.0, 2.0}
    assert set(inputs["known_mask"].ravel().tolist()) == {0.0, 1.0}
    assert set(inputs["prior"][..., -1].ravel().tolist()) == {0.0, 1.0}
    assert len(np.unique(inputs["x"])) > 1000


def test_what_the_unconditional_row_gets_is_declared() -> None:
    spec = tiny_spec()
    nulls = {tensor.name: tensor.null for tensor in spec.graph("denoiser").inputs}
    assert nulls["context"] is Null.ENCODED
    assert nulls["prior"] is nulls["rhythm"] is Null.ZEROS
    assert nulls["known"] is nulls["x"] is nulls["frame_mask"] is Null.SAME
    assert {t.name for t in spec.graph("conditioner").inputs if t.null is Null.ONES} == {"music_mask"}
    assert all(t.role is Role.MASK for t in spec.graph("conditioner").inputs if t.name.startswith("has_"))
