import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from choreo.errors import InvalidArtifact
from export.triton_config import (
    Accelerator,
    Cuda,
    DynamicBatching,
    GraphSpec,
    InstanceGroup,
    ModelWarmup,
    Optimization,
    TensorConfig,
    TritonModelConfig,
    WarmupInput,
    parse,
    render,
)

text = st.text(st.characters(codec="utf-8"), max_size=12)
name = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
dims = st.lists(st.integers(-1, 2**40), min_size=1, max_size=4).map(tuple)
int32 = st.integers(0, 2**31 - 1)
uint32 = st.integers(0, 2**32 - 1)

tensors = st.lists(st.builds(TensorConfig, name=name, dims=dims), unique_by=lambda t: t.name).map(tuple)
batchers = st.just(DynamicBatching())
groups = st.builds(InstanceGroup, kind=st.sampled_from(["CPU", "GPU"]), count=int32)
warmup_inputs = st.builds(WarmupInput, dims=dims)
warmups = st.builds(
    ModelWarmup,
    name=name,
    batch_size=uint32,
    inputs=st.dictionaries(name, warmup_inputs, min_size=1, max_size=3),
)
graph_specs = st.builds(GraphSpec, batch_size=int32, inputs=st.dictionaries(name, dims, max_size=3))
accelerators = st.lists(
    st.builds(Accelerator, name=name, parameters=st.dictionaries(text, text, max_size=3)), max_size=2
).map(tuple)
optimizations = st.builds(
    Optimization,
    cuda=st.none() | st.builds(Cuda, graphs=st.booleans(), graph_spec=st.lists(graph_specs, max_size=2).map(tuple)),
    gpu_accelerators=accelerators,
)


@st.composite
def configs(draw: st.DrawFn) -> TritonModelConfig:
    max_batch_size = draw(int32)
    runner = draw(st.sampled_from([{"backend": "python"}, {"platform": "tensorrt_plan"}]))
    return TritonModelConfig(
        **runner,
        name=draw(st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,20}\Z")),
        max_batch_size=max_batch_size,
        inputs=draw(tensors),
        outputs=draw(tensors),
        optimization=draw(st.none() | optimizations),
        dynamic_batching=draw(st.none() | batchers) if max_batch_size else None,
        instance_groups=tuple(draw(st.lists(groups, max_size=2))),
        default_model_filename=draw(text),
        parameters=draw(st.dictionaries(text, text, max_size=4)),
        warmup=tuple(draw(st.lists(warmups, max_size=2))),
    )


@given(configs())
def test_round_trip(config: TritonModelConfig) -> None:
    assert parse(render(config)) == config


def minimal(**changes: object) -> TritonModelConfig:
    fields: dict[str, object] = {
        "name": "denoiser",
        "backend": "python",
        "max_batch_size": 4,
        "inputs": ({"name": "x", "dims": (8, 4)},),
        "outputs": ({"name": "x0", "dims": (8, 4)},),
    }
    return TritonModelConfig.model_validate(fields | changes)


def test_an_empty_batcher_is_not_the_same_as_none() -> None:
    batching = minimal(dynamic_batching=DynamicBatching())
    assert "dynamic_batching {\n}" in render(batching)
    assert parse(render(batching)).dynamic_batching == DynamicBatching()
    assert parse(render(minimal())).dynamic_batching is None


def test_the_text_does_not_depend_on_the_order_of_parameters() -> None:
    assert render(minimal(parameters={"a": "1", "b": "2"})) == render(minimal(parameters={"b": "2", "a": "1"}))


def test_triton_reads_the_names_it_documents() -> None:
    text = render(minimal(instance_groups=(InstanceGroup(kind="CPU"),)))
    for line in ('backend: "python"', "max_batch_size: 4", "data_type: TYPE_FP32", "kind: KIND_CPU", "count: 1"):
        assert line in text


@pytest.mark.parametrize(
    "broken",
    [
        "max_batch_size: many",
        'nonsense: "x"',
        'name: "m" backend: "python" max_batch_size: -1',
        'name: "m" backend: "python" input { name: "x" data_type: TYPE_INVALID dims: 1 }',
        'name: "m"',
    ],
)
def test_text_that_is_not_a_configuration_is_refused(broken: str) -> None:
    with pytest.raises(InvalidArtifact):
        parse(broken)


@pytest.mark.parametrize(
    "text",
    [
        "sequence_batching { }",
        "response_cache { enable: true }",
        "version_policy { latest { num_versions: 2 } }",
        "dynamic_batching { max_queue_delay_microseconds: 5 }",
        "dynamic_batching { default_queue_policy { max_queue_size: 5 } }",
        "instance_group { kind: KIND_GPU count: 1 gpus: 0 }",
        "optimization { execution_accelerators { cpu_execution_accelerator { name: 'openvino' } } }",
        "optimization { cuda { busy_wait_events: true } }",
        "model_warmup { name: 'w' inputs { key: 'x' value { data_type: TYPE_FP32 dims: 1 random_data: true } } }",
        "model_warmup { name: 'w' inputs { key: 'x' value { data_type: TYPE_INT8 dims: 1 zero_data: true } } }",
    ],
)
def test_a_field_that_would_be_lost_is_refused(text: str) -> None:
    with pytest.raises(InvalidArtifact, match="does not know"):
        parse(render(minimal()) + text)


@pytest.mark.parametrize(
    "text",
    ["instance_group { kind: KIND_MODEL count: 1 }", "input { name: 'ids' data_type: TYPE_INT64 dims: 1 }"],
)
def test_a_value_that_cannot_be_expressed_is_refused(text: str) -> None:
    with pytest.raises(InvalidArtifact, match="cannot be used"):
        parse(render(minimal()) + text)


@pytest.mark.parametrize(
    "changes",
    [
        {"backend": ""},
        {"platform": "tensorrt_plan"},
        {"max_batch_size": 0, "dynamic_batching": {}},
        {"inputs": ({"name": "x", "dims": (1,)}, {"name": "x", "dims": (2,)})},
        {"name": "../m"},
        {"unknown": 1},
        {"warmup": ({"name": "w", "batch_size": 1, "inputs": {}},)},
    ],
)
def test_contradictions_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        minimal(**changes)
