"""The OpenAPI document says what the server does."""

from typing import Any

import pytest


@pytest.fixture
def document(ingress: Any) -> dict[str, Any]:
    found: dict[str, Any] = ingress.ask("GET", "/openapi.json").json()
    return found


def test_metrics_are_text(ingress: Any, document: dict[str, Any]) -> None:
    answer = ingress.ask("GET", "/metrics")
    documented = document["paths"]["/metrics"]["get"]["responses"]["200"]["content"]
    assert list(documented) == ["text/plain"]
    assert answer.headers["content-type"].startswith("text/plain")


def test_the_first_interface_answers_400_without_a_source(ingress: Any, document: dict[str, Any]) -> None:
    operation = document["paths"]["/generate"]["post"]
    assert ingress.ask("POST", "/generate", json={"text_prompt": None}).status_code == 400
    assert "400" in operation["responses"]
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    assert [each["required"] for each in schema["anyOf"]] == [["text_prompt"], ["audio_url"]]


@pytest.mark.parametrize("path", ["/v1/generate", "/v1/phrases/search"])
def test_fields_of_forms_are_never_null(document: dict[str, Any], path: str) -> None:
    content = document["paths"][path]["post"]["requestBody"]["content"]
    form, json_body = (content[kind]["schema"] for kind in ("multipart/form-data", "application/json"))
    assert form["properties"].keys() == json_body["properties"].keys()
    assert not any({"type": "null"} in field.get("anyOf", ()) for field in form["properties"].values())
    assert form["properties"]["duration"]["type"] == "number"
    assert {"type": "null"} in json_body["properties"]["duration"]["anyOf"]
    assert form["properties"]["beats"]["type"] == "string"
    assert json_body["properties"]["beats"]["anyOf"][0] == {
        "type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 4096,
    }  # fmt: skip


@pytest.mark.parametrize("path", ["/v1/generate", "/v1/phrases/search"])
def test_a_request_needs_something_to_dance_to(document: dict[str, Any], path: str) -> None:
    schema = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    leader = ["leader"] if path == "/v1/generate" else []
    reasons = ["audio", "audio_url", "features", *leader, "text_prompt"]
    assert sorted(each["required"][0] for each in schema["anyOf"]) == reasons
