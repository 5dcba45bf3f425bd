"""Errors and the problem documents they become."""

import json
import logging
import pickle
from http import HTTPStatus

import pytest
from starlette.exceptions import HTTPException

from choreo.errors import (
    BackendUnavailable,
    DeadlineExceeded,
    InvalidArtifact,
    InvalidInput,
    MissingDependency,
    NonFiniteOutput,
)
from serving.errors import Overloaded
from serving.http.problems import MAX_DETAIL, MEDIA_TYPE, HttpProblem, Problem, answer, problem_of

SECRET = "/srv/models/secret.safetensors"


@pytest.mark.parametrize(
    ("error", "status", "field"),
    [
        (InvalidInput("duration", "must be positive"), 422, "duration"),
        (InvalidInput("start.positions", "is missing"), 422, "start.positions"),
        (InvalidInput("audio", "is empty"), 422, "audio"),
        (MissingDependency("no ffmpeg; install it"), 501, None),
        (BackendUnavailable(SECRET), 503, None),
        (Overloaded(7), 429, None),
        (DeadlineExceeded("too late"), 504, None),
        (NonFiniteOutput(SECRET), 500, None),
        (InvalidArtifact(SECRET), 500, None),
        (InvalidInput("foo", "is not a field of this request"), 422, "foo"),
        (HTTPException(404), 404, None),
        (HTTPException(405, headers={"Allow": "POST"}), 405, None),
        (HttpProblem(HTTPStatus.REQUEST_TIMEOUT, "slow-upload", "too slow", "body"), 408, "body"),
        (ValueError(SECRET), 500, None),
        (KeyError(SECRET), 500, None),
    ],
)
def test_status_and_field(error: Exception, status: int, field: str | None) -> None:
    response = answer(error, "abc")
    document = json.loads(response.body)
    assert response.status_code == status
    assert response.headers["content-type"] == MEDIA_TYPE
    assert document["status"] == status
    assert document["title"] == HTTPStatus(status).phrase
    assert document["type"].startswith("urn:choreo:problem:")
    assert document["detail"]
    assert document["instance"] == "abc"
    assert document.get("field") == field
    assert SECRET not in str(document)


@pytest.mark.parametrize("error", [Overloaded(7), BackendUnavailable("x")])
def test_says_when_to_come_back(error: Exception) -> None:
    assert int(answer(error, "abc").headers["retry-after"]) >= 1


def test_allowed_methods_are_passed_on() -> None:
    assert answer(HTTPException(405, headers={"Allow": "POST"}), "abc").headers["allow"] == "POST"


def test_a_missing_dependency_says_what_but_not_where() -> None:
    problem = problem_of(MissingDependency(f"no weights (looked for '{SECRET}'); see https://example.org/weights"))
    assert SECRET not in problem.detail
    assert "https://example.org/weights" in problem.detail


def test_what_was_sent_is_quoted_in_part_and_in_ascii() -> None:
    document = Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "x", "y" * 10_000, "z" * 10_000).document("abc")
    assert len(document["detail"]) == MAX_DETAIL
    assert len(document["field"]) <= 64
    response = answer(InvalidInput("text_prompt", "has \ud800 in it"), "abc")
    assert json.loads(bytes(response.body).decode("ascii"))["field"] == "text_prompt"


def test_only_the_log_has_the_details_of_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        try:
            raise RuntimeError(SECRET)
        except RuntimeError as error:
            answer(error, "abc")
    assert SECRET in caplog.text
    assert "abc" in caplog.text
    assert "Traceback" in caplog.text


@pytest.mark.parametrize(
    "error",
    [
        InvalidInput("duration", "must be positive"),
        Overloaded(7),
        HttpProblem(HTTPStatus.REQUEST_TIMEOUT, "slow-upload", "too slow", "body", {"X": "y"}),
    ],
)
def test_errors_survive_a_process_boundary(error: Exception) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert problem_of(copy) == problem_of(error)
