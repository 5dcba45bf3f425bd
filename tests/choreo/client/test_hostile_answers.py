"""Whatever a server answers, a client raises an error of this library or returns what it promises."""

import json
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from choreo.client.answers import LibraryAnswer, Models, SearchResult, Version, read_document
from choreo.client.dance import Dance, read_dance
from choreo.client.job_documents import JobPage, JobResult, JobStatus, read_results
from choreo.client.problems import error_of
from choreo.client.wire import Answer
from choreo.errors import ChoreoError, UnexpectedAnswer

SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=8,
)
PROBLEMS = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("type", "title", "status", "detail", "field", "instance"), VALUES)
)
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        name: st.text(st.characters(max_codepoint=255), max_size=40)
        for name in ("retry-after", "x-seed", "x-notes", "server-timing", "x-request-id")
    },
)
BODIES = st.one_of(st.binary(max_size=64), VALUES.map(lambda value: json.dumps(value).encode()))
LINES = st.fixed_dictionaries(
    {"index": st.just(0), "state": st.sampled_from(["succeeded", "failed", "?"])},
    optional={
        "custom_id": SCALARS,
        "response": st.one_of(VALUES, st.fixed_dictionaries({"status_code": SCALARS, "files": VALUES, "meta": VALUES})),
        "error": st.one_of(VALUES, PROBLEMS),
    },
)


@given(status=st.integers(400, 599), headers=HEADERS, problem=PROBLEMS)
def test_problems(status: int, headers: dict[str, str], problem: dict[str, Any]) -> None:
    media_type = {"content-type": "application/problem+json"}
    error = error_of(Answer(status, headers | media_type, json.dumps(problem).encode()))
    assert isinstance(error, ChoreoError)
    assert len(str(error).splitlines()) == 1
    assert len(str(error)) < 700
    assert error.answer is not None
    assert (error.answer.status, len(error.answer.kind) <= 64) == (status, True)


@given(status=st.integers(400, 599), headers=HEADERS, body=BODIES)
def test_errors_without_a_problem(status: int, headers: dict[str, str], body: bytes) -> None:
    assert isinstance(error_of(Answer(status, headers, body)), ChoreoError)


@given(headers=HEADERS, body=BODIES, name=st.sampled_from(["npz", "json", "mp4"]))
def test_dances(headers: dict[str, str], body: bytes, name: str) -> None:
    try:
        dance = read_dance(Answer(200, headers, body), name)
    except UnexpectedAnswer:
        return
    assert isinstance(dance, Dance)
    assert name == "mp4" or dance.positions.dtype == np.float32
    assert all(note.isprintable() for note in dance.notes)


@given(body=BODIES, kind=st.sampled_from([Models, LibraryAnswer, SearchResult, Version, JobStatus, JobPage]))
def test_documents(body: bytes, kind: Any) -> None:
    try:
        found = read_document(kind, Answer(200, {}, body))
    except UnexpectedAnswer:
        return
    assert isinstance(found, kind)


@given(lines=st.lists(st.one_of(LINES, VALUES), max_size=3), tail=st.binary(max_size=8))
def test_results(lines: list[Any], tail: bytes) -> None:
    body = b"".join(json.dumps(line).encode() + b"\n" for line in lines) + tail
    try:
        results = read_results(Answer(200, {}, body))
    except UnexpectedAnswer:
        return
    for result in results:
        assert isinstance(result, JobResult)
        assert result.error is None or isinstance(result.error, ChoreoError)
        assert all("/" not in file.name and not file.name.startswith(".") for file in result.files)
