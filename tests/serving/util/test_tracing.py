"""Spans in one process, and on their way through calls to others."""

import subprocess
import sys
from typing import Any

import pytest
from recorded_spans import id_of, parent_of, recorded_spans

from choreo.errors import BackendUnavailable, InvalidInput
from serving.util import tracing
from serving.util.tracing import begin, carrier, continued, current, ids, is_on, note, past, root, shared, span

REMOTE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", ""


def test_nothing_is_recorded_and_nothing_imported_where_they_are_off() -> None:
    """In a process of its own, because this one has imported OpenTelemetry for its tests."""
    program = """
import sys
from serving.util import call_context, logs, tracing
tracing.begin({}, "sampler")
with tracing.root("dance", steps=3), tracing.span("sample", rows=4):
    tracing.note(model="x")
    tracing.past("render", 0.0, 1.0)
    assert tracing.carrier() == ("", "") and tracing.ids() == ("", "") and tracing.current() is None
    assert call_context.outgoing() is None
with tracing.continued(("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", ""), "SampleStage/sample"):
    assert tracing.current() is None
with logs.about(request_id="r-1"):
    assert call_context.outgoing() == ("r-1", "", "", "", "")
tracing.flush()
import serving.stages.local, serving.stages.encoder, serving.sampling.runner, serving.jobs.service
imported = [name for name in sys.modules if name.startswith("opentelemetry")]
import serving.http.ingress  # FastAPI imports the API of OpenTelemetry by itself
print(imported + [name for name in sys.modules if name.startswith("opentelemetry.sdk")])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


def test_spans_are_nested_and_have_attributes() -> None:
    with recorded_spans() as recorded:
        with root("dance"), span("sample", preset="fast"):
            note(rows=3)
            past("render", 100.0, 0.5)
        assert ids() == ("", "")
    dance, sample, render = (recorded.one(name) for name in ("dance", "sample", "render"))
    assert [parent_of(each) for each in (dance, sample, render)] == [None, id_of(dance), id_of(sample)]
    assert dict(sample.attributes) == {"choreo.preset": "fast", "choreo.rows": 3}
    assert (render.start_time, render.end_time) == (100_000_000_000, 100_500_000_000)


def test_a_root_within_a_trace_is_a_part_of_it() -> None:
    with recorded_spans() as recorded, root("outer"), root("inner", REMOTE[0]):
        pass
    assert parent_of(recorded.one("inner")) == id_of(recorded.one("outer"))


@pytest.mark.parametrize("origin", ["", "00-nonsense", REMOTE[0]])
def test_a_root_is_linked_to_the_trace_that_it_comes_from(origin: str) -> None:
    with recorded_spans() as recorded, root("job.item", origin):
        pass
    item = recorded.one("job.item")
    assert item.parent is None
    assert [format(link.context.trace_id, "032x") for link in item.links] == [REMOTE[0][3:35]] * (origin == REMOTE[0])


def test_a_call_goes_on_in_the_trace_of_its_caller() -> None:
    with recorded_spans() as recorded:
        with root("dance"), span("sample"):
            taken = carrier()
        with continued(taken, "SampleStage/sample"), span("inside"):
            assert ids()[0] == taken[0].split("-")[1]
        with continued(("", ""), "SampleStage/models"):
            assert current() is None
    called = recorded.one("SampleStage/sample")
    assert parent_of(called) == id_of(recorded.one("sample"))
    assert parent_of(recorded.one("inside")) == id_of(called)
    assert len({each.context.trace_id for each in recorded.all()}) == 1
    assert recorded.named("SampleStage/models") == []


def test_shared_work_is_linked_to_all_and_in_the_first() -> None:
    members: list[Any] = []
    with recorded_spans() as recorded:
        for _ in range(3):
            with root("dance"):
                members.append(current())
        with shared("triton.infer", members, rows=6):
            pass
        with shared("triton.infer", []):
            pass
    call = recorded.one("triton.infer")
    assert [link.context.span_id for link in call.links] == [member.span_id for member in members]
    assert (call.context.trace_id, parent_of(call)) == (members[0].trace_id, members[0].span_id)
    assert call.attributes["choreo.rows"] == 6


def test_what_is_not_sampled_is_not_recorded() -> None:
    with recorded_spans() as recorded, continued((REMOTE[0][:-1] + "0", ""), "SampleStage/sample"):
        assert current() is None
        with span("inside"):
            assert carrier()[0].endswith("-00")
    assert recorded.all() == []


def test_errors_are_told_by_their_type_and_those_of_callers_are_none() -> None:
    with recorded_spans() as recorded:
        for error in (BackendUnavailable("a secret"), InvalidInput("song", "a secret")):
            with pytest.raises(type(error)), root(type(error).__name__):
                raise error
    broken, refused = recorded.all()
    assert (broken.attributes["error.type"], broken.status.is_ok) == ("BackendUnavailable", False)
    assert (refused.attributes["error.type"], refused.status.is_ok) == ("InvalidInput", True)
    assert "secret" not in broken.to_json() + refused.to_json()


def test_variables_that_cannot_be_used_stop_no_process(caplog: pytest.LogCaptureFixture) -> None:
    begin({"OTEL_TRACES_EXPORTER": "zipkin"}, "sampler")
    assert not is_on()
    assert "there are no traces of the sampler" in caplog.text
    tracing.flush()
