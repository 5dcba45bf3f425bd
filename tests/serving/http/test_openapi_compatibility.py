"""Clients that were written for an earlier OpenAPI document get on with the present one."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openapi_document import FILE, breaking_changes, current_document

GENERATE = ("paths", "/v1/generate", "post")
FIELDS = (*GENERATE, "requestBody", "content", "application/json", "schema")
COMMITTED: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))


def test_nothing_that_clients_rely_on_has_gone() -> None:
    """If this fails on purpose, deprecate first (docs/stability.md); see tests/openapi_document.py."""
    assert breaking_changes(COMMITTED, current_document()) == []


def at(document: dict[str, Any], *names: str) -> Any:
    for name in names:
        document = document[name]
    return document


def everything(document: Any, where: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Addresses of all paths, operations, statuses, media types, fields and enumerated values."""
    found = []
    if isinstance(document, dict):
        for name, value in document.items():
            if where and where[-1] in ("paths", "responses", "content", "properties") and "anyOf" not in where:
                found.append((*where, name))
            found += everything(value, (*where, name))
    if where and where[-1] == "enum":
        found += [(*where, str(i)) for i in range(len(document))]
    return found


@given(where=st.sampled_from(everything({"paths": COMMITTED["paths"]})))
def test_whatever_is_taken_away_is_noticed(where: tuple[str, ...]) -> None:
    changed = copy.deepcopy(COMMITTED)
    parent = at(changed, *where[:-1])
    del parent[int(where[-1]) if isinstance(parent, list) else where[-1]]
    assert breaking_changes(COMMITTED, changed)


@pytest.mark.parametrize(
    ("names", "change", "told"),
    [
        (FIELDS, {"required": ["seed"]}, "needs seed"),
        (FIELDS, {"anyOf": [{"required": ["audio"]}]}, "not content with text_prompt"),
        ((*FIELDS, "properties", "format"), {"enum": ["npz"]}, "certain values"),
        ((*FIELDS, "properties", "seed"), {"anyOf": [{"type": "string"}, {"type": "null"}]}, "takes null, string only"),
        ((*FIELDS, "properties", "duration"), {"maximum": 60}, "tighter maximum"),
        (GENERATE, {"parameters": [{"name": "key", "in": "header", "required": True}]}, "needs the parameter key"),
    ],
)
def test_whatever_is_newly_required_is_noticed(names: tuple[str, ...], change: dict[str, Any], told: str) -> None:
    changed = copy.deepcopy(COMMITTED)
    at(changed, *names).update(change)
    assert any(told in line for line in breaking_changes(COMMITTED, changed))


def test_additions_are_no_breaking_changes() -> None:
    changed = copy.deepcopy(COMMITTED)
    at(changed, *FIELDS, "properties")["loop"] = {"type": "boolean"}
    at(changed, *FIELDS, "properties", "camera", "enum").append("orbit")
    at(changed, *FIELDS, "anyOf").append({"required": ["start"]})
    at(changed, *GENERATE, "responses")["401"] = {"description": "no key"}
    at(changed, *GENERATE)["parameters"] = [{"name": "verbose", "in": "query", "schema": {}}]
    changed["paths"]["/v1/new"] = {"post": {"responses": {}}}
    assert breaking_changes(COMMITTED, changed) == []


def test_references_are_followed() -> None:
    schema = {"properties": {"a": {"type": "string"}}, "required": ["a"]}
    inline = {"content": {"application/json": {"schema": schema}}}
    referring = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/A"}}}}

    def document(answer: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
        return {"paths": {"/a": {"get": {"responses": {"200": answer}}}}, "components": {"schemas": schemas}}

    assert breaking_changes(document(inline, {}), document(referring, {"A": schema})) == []
    (line,) = breaking_changes(document(inline, {}), document(referring, {"A": schema | {"required": []}}))
    assert line == "GET /a 200 promises no a any more"
