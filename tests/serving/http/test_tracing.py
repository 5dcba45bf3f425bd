"""Traces, as a receiver of OTLP over HTTP gets them."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from otlp_receiver import OtlpReceiver, ReceivedSpan, otlp_receiver

from choreo.errors import BackendUnavailable, InvalidInput
from serving.util.tracing import make_provider

TEXT = {"text_prompt": "a slow waltz", "preset": "fast"}
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CALLER = f"00-{TRACE}-{PARENT}-01"


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[OtlpReceiver]:
    """A receiver that the variables point to."""
    pytest.importorskip("opentelemetry.sdk")
    with otlp_receiver() as receiver:
        for name, value in receiver.environment.items():
            monkeypatch.setenv(name, value)
        yield receiver


@pytest.fixture
def spans(receiver: OtlpReceiver) -> list[ReceivedSpan]:
    """What it got."""
    return receiver.spans


def ask(ingress: Any, headers: dict[str, str], body: dict[str, Any] = TEXT) -> Any:
    """One request to an ingress that is drained afterwards, so that all spans are sent."""

    async def run() -> Any:
        async with ingress.connect() as client:
            answer = await client.post("/v1/generate", json=body, headers=headers)
            await client.get("/healthz")
            await client._transport.app.state.drain(0)
            return answer

    return asyncio.run(run())


def test_a_request_is_a_trace_of_its_caller(ingress: Any, spans: list[ReceivedSpan]) -> None:
    answer = ask(ingress, {"traceparent": CALLER})
    assert answer.status_code == 200
    assert {(s.resource["service.name"], s.resource["choreo.component"]) for s in spans} == {("choreo", "ingress")}
    by_name = {received.name: received.span for received in spans}
    assert set(by_name) == {"POST /v1/generate", "encode", "retrieve", "sample", "finish"}
    assert {span.trace_id.hex() for span in by_name.values()} == {TRACE}
    root = by_name.pop("POST /v1/generate")
    assert root.parent_span_id.hex() == PARENT
    assert answer.headers["traceparent"] == f"00-{TRACE}-{root.span_id.hex()}-01"
    assert {span.parent_span_id for span in by_name.values()} == {root.span_id}
    attributes = next(received.attributes for received in spans if received.name == "sample")
    assert attributes == {
        "choreo.model": "fake",
        "choreo.preset": "fast",
        "choreo.sampler": "dpm++2m",
        "choreo.steps": 6,
        "choreo.frames": 196,
        "choreo.rows": 14,
        "choreo.rows.conditioner": 2,
        "choreo.rows.denoiser": 12,
    }
    assert "waltz" not in str(spans)


def test_a_caller_without_a_trace_or_with_a_broken_one_gets_a_new_one(ingress: Any, spans: list[ReceivedSpan]) -> None:
    answer = ask(ingress, {"traceparent": "00-nonsense"}, {"text_prompt": ""})
    assert answer.status_code == 422
    assert answer.headers["traceparent"].split("-")[1] == spans[0].trace_id != TRACE


def test_a_name_and_not_sampled_are_honoured(
    ingress: Any, spans: list[ReceivedSpan], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "studio")
    assert ask(ingress, {"traceparent": f"00-{TRACE}-{PARENT}-00"}).status_code == 200
    assert spans == []
    ask(ingress, {})
    assert {received.resource["service.name"] for received in spans} == {"studio"}


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"OTEL_SERVICE_NAME": "x"},
        {"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"},
        {"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"},
    ],
)
def test_they_are_off(environ: dict[str, str]) -> None:
    assert make_provider(environ) is None


def test_requests_of_a_job_are_traces_that_are_linked_to_its_submission(
    ingress: Any, spans: list[ReceivedSpan], tmp_path: Path
) -> None:
    async def run() -> str:
        async with ingress.connect(data_dir=tmp_path) as client:
            body = {"requests": [TEXT, TEXT]}
            job = str((await client.post("/v1/jobs", json=body, headers={"traceparent": CALLER})).json()["id"])
            async with asyncio.timeout(30):
                while (await client.get(f"/v1/jobs/{job}")).json()["state"] != "succeeded":
                    await asyncio.sleep(0.01)
            app = client._transport.app
            await app.state.drain(0)
            await app.state.jobs.close()
            return job

    job = asyncio.run(run())
    submission = next(received for received in spans if received.name == "POST /v1/jobs")
    items = [received for received in spans if received.name == "job.item"]
    assert submission.trace_id == TRACE
    assert [link.span_id for item in items for link in item.span.links] == [submission.span.span_id] * 2
    assert [link.trace_id.hex() for item in items for link in item.span.links] == [TRACE] * 2
    assert len({item.trace_id for item in items} | {TRACE}) == 3
    assert [item.span.parent_span_id for item in items] == [b"", b""]
    assert {item.attributes["choreo.job_id"] for item in items} == {job}
    assert sorted(item.attributes["choreo.position"] for item in items) == [0, 1]
    for item in items:
        below = {s.name for s in spans if s.span.parent_span_id == item.span.span_id}
        assert below == {"encode", "retrieve", "sample", "finish"}


def test_a_receiver_that_fails_harms_no_request(ingress: Any, receiver: OtlpReceiver) -> None:
    receiver.status = 400
    assert ask(ingress, {"traceparent": CALLER}).status_code == 200
    assert receiver.spans


def test_errors_are_told_by_their_type_alone(ingress: Any, spans: list[ReceivedSpan], stages: Any) -> None:
    async def fail(request: Any) -> None:
        raise BackendUnavailable("quoting a secret")

    stages.action = fail
    assert ask(ingress, {}).status_code == 503
    failed = next(received for received in spans if received.name == "sample")
    assert failed.attributes["error.type"] == "BackendUnavailable"
    assert failed.span.status.code == 2
    assert "secret" not in str(spans)


def test_nothing_is_added_to_answers_without_them(ingress: Any) -> None:
    assert "traceparent" not in ingress.generate(TEXT).headers


def test_other_exporters_are_refused() -> None:
    with pytest.raises(InvalidInput, match="OTEL_TRACES_EXPORTER"):
        make_provider({"OTEL_TRACES_EXPORTER": "zipkin"})
