"""Calls of a StepBatchRunner in traces, and the context that it runs in."""

import asyncio
from typing import Any

import pytest
from fake_step_engine import SPEC, FakeEngine, runner, together, trajectory
from recorded_spans import id_of, parent_of, recorded_spans

from choreo.generators.base import Tensors
from serving.sampling.runner import StepBatchRunner
from serving.util import logs, tracing


def test_calls_are_in_the_traces_of_the_requests_that_share_them() -> None:
    """Two requests are traced, and one is not; all three share their calls."""

    async def everything(engine: FakeEngine) -> StepBatchRunner:
        batches = runner(engine)

        async def traced(name: str) -> None:
            with tracing.root(name):
                await batches.run(trajectory(num_steps=2, name=1.0), SPEC)

        await asyncio.gather(traced("first"), traced("second"), batches.run(trajectory(num_steps=2), SPEC))
        return batches

    with recorded_spans() as recorded:
        engine = FakeEngine()
        batches = asyncio.run(everything(engine))
    first, second = recorded.one("first"), recorded.one("second")
    calls = recorded.named("infer")
    assert len(calls) == len(engine.sizes)
    assert sum(span.attributes["choreo.rows"] for span in calls) == sum(engine.sizes)
    assert {span.attributes["choreo.graph"] for span in calls} == {"fake.denoiser"}
    for span in calls:
        linked = [link.context.span_id for link in span.links]
        assert set(linked) <= {id_of(first), id_of(second)}
        assert parent_of(span) == linked[0]
    assert any(len(span.links) == 2 and span.attributes["choreo.requests"] == 3 for span in calls)
    assert batches._traced == {}


def test_without_traces_calls_are_made_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*args: Any, **given: Any) -> Any:
        raise AssertionError("a span was asked for")

    monkeypatch.setattr(tracing, "shared", never)
    assert together([trajectory(num_steps=2)], FakeEngine()) == [None]


def test_what_moves_the_batches_is_in_the_context_of_no_request() -> None:
    known: list[str] = []

    async def fault(number: int, inputs: Tensors, out: Tensors) -> Tensors:
        known.append(logs.context().request_id)
        return out

    async def everything() -> None:
        with logs.about(request_id="r-1"):
            await runner(FakeEngine(fault)).run(trajectory(num_steps=2), SPEC)

    asyncio.run(everything())
    assert set(known) == {""}
