"""Searching the phrase library over HTTP, and what answers say about priors."""

import asyncio
import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic_phrases import WordEncoder

from choreo.errors import BackendUnavailable, InvalidArtifact
from choreo.generators.base import Conditioning
from choreo.motion.formats.npz import read_npz
from retrieval.library.embedding import Query
from retrieval.library.library import Hit, PhraseLibrary
from serving.pipeline.encoded_request import EncodedRequest
from serving.pipeline.phrases import CacheStats, Prior, RetrievalResult, SearchResult, UsedPhrase
from serving.pipeline.request import MotionRequest
from serving.stages.library_facts import facts
from serving.stages.retriever import Retriever

SEARCH = "/v1/phrases/search"
TEXT = {"text_prompt": "a slow waltz"}


@pytest.fixture
def library(libraries: tuple[Path, Path]) -> PhraseLibrary:
    return PhraseLibrary.open(libraries[0])


@pytest.fixture
def found(library: PhraseLibrary) -> SearchResult:
    hits = [Hit(library[i], 0.9 - 0.1 * i, i, 0.5 - 0.1 * i) for i in range(3)]
    return SearchResult(hits, facts(library))


def test_a_search_by_prompt(ingress: Any, stages: Any, found: SearchResult) -> None:
    stages.found = found
    response = ingress.ask("POST", SEARCH, json=TEXT | {"top_n": 3, "phrase_variety": 0.5})
    assert response.status_code == 200, response.text
    document = response.json()
    assert set(document) == {"library", "query", "reason", "phrases"}
    assert found.library is not None
    assert document["library"] == {
        "version": found.library.version, "phrases": len(stages.found.hits) + 1, "seconds": found.library.seconds,
        "licences": {"apache-2.0": 4}, "text_encoder": "words", "index": "flat",
        "place": found.library.place,
    }  # fmt: skip
    assert document["query"] == {"text_prompt": "a slow waltz", "song": None, "tempo": 0.0, "variety": 0.5}
    assert document["reason"] is None
    first, *_ = document["phrases"]
    phrase = found.hits[0].phrase
    assert first == {
        "rank": 1, "score": 0.9, "similarity": 0.5, "id": phrase.id, "source": phrase.source, "start": phrase.start,
        "seconds": round(phrase.num_frames / 30, 2), "genre": phrase.genre, "caption": phrase.caption,
        "tempo": phrase.tempo, "energy": phrase.energy, "licence": "apache-2.0",
    }  # fmt: skip
    assert [p["rank"] for p in document["phrases"]] == [1, 2, 3]
    ((query, top_n),) = stages.searches
    assert (query.text, query.variety, top_n) == ("a slow waltz", 0.5, 3)
    assert stages.requests[0].request_id == response.headers["x-request-id"]


def test_a_search_by_song_features_and_filters(ingress: Any, stages: Any, found: SearchResult, npy: Any) -> None:
    stages.found = found
    fields = {
        "top_n": "5", "phrase_genre": "waltz, rumba", "phrase_licence": "mit", "phrase_min_tempo": "80",
        "phrase_max_tempo": "120.5", "phrase_variety": "1",
    }  # fmt: skip
    parts = [(name, (None, value)) for name, value in fields.items()]
    answer = ingress.ask("POST", SEARCH, files=[*parts, ("audio", ("song.ogg", b"OggS"))])
    assert answer.status_code == 200, answer.text
    query, top_n = stages.searches[0]
    assert (stages.requests[0].audio, top_n, query.variety) == (b"OggS", 5, 1.0)
    assert query.filter.genres == {"waltz", "rumba"}
    assert query.filter.licences == {"mit"}
    assert (query.filter.min_tempo, query.filter.max_tempo) == (80, 120.5)
    features = npy(np.zeros((60, 35), np.float32))
    assert ingress.ask("POST", SEARCH, files=[("features", ("f.npy", features))]).status_code == 200
    assert ingress.ask("POST", SEARCH, json={"features": base64.b64encode(features).decode()}).status_code == 200
    assert all(request.features.shape == (60, 35) for request in stages.requests[1:])


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({}, "text_prompt"),
        ({"text_prompt": " "}, "text_prompt"),
        (TEXT | {"top_n": 0}, "top_n"),
        (TEXT | {"top_n": 51}, "top_n"),
        (TEXT | {"top_n": 10**30}, "top_n"),
        (TEXT | {"top_n": 2.5}, "top_n"),
        (TEXT | {"top_n": None}, "top_n"),
        (TEXT | {"k": 3}, "k"),
        (TEXT | {"num_steps": 3}, "num_steps"),
        (TEXT | {"start": "AAAA"}, "start"),
        (TEXT | {"model": 3}, "model"),
        (TEXT | {"model": "gpt"}, "model"),
        (TEXT | {"duration": -1}, "duration"),
        (TEXT | {"audio_url": "https://example.org/a.wav"}, "audio_url"),
        ({"audio": "UklGRg==", "features": "AAAA"}, "features"),
        ({"audio": ""}, "audio"),
    ],
)
def test_bad_searches(ingress: Any, stages: Any, check_problem: Any, values: dict[str, Any], field: str) -> None:
    check_problem(ingress.ask("POST", SEARCH, json=values), 422, field)
    assert not stages.requests


BAD_FILTERS = [
    ({"phrase_genre": ""}, "phrase_genre"),
    ({"phrase_genre": "waltz,,rumba"}, "phrase_genre"),
    ({"phrase_genre": ","}, "phrase_genre"),
    ({"phrase_genre": ["waltz"]}, "phrase_genre"),
    ({"phrase_genre": "a\x00b"}, "phrase_genre"),
    ({"phrase_genre": ",".join("ab" for _ in range(33))}, "phrase_genre"),
    ({"phrase_licence": "x" * 65}, "phrase_licence"),
    ({"phrase_licence": "x" * 100_000}, "phrase_licence"),
    ({"phrase_min_tempo": 0}, "phrase_min_tempo"),
    ({"phrase_min_tempo": "90"}, "phrase_min_tempo"),
    ({"phrase_min_tempo": 1e9}, "phrase_min_tempo"),
    ({"phrase_max_tempo": -1}, "phrase_max_tempo"),
    ({"phrase_min_tempo": 120, "phrase_max_tempo": 90}, "phrase_min_tempo"),
    ({"phrase_variety": -0.1}, "phrase_variety"),
    ({"phrase_variety": 1.1}, "phrase_variety"),
    ({"phrase_variety": None}, "phrase_variety"),
    ({"phrase_variety": True}, "phrase_variety"),
]


@pytest.mark.parametrize("path", [SEARCH, "/v1/generate"])
@pytest.mark.parametrize(("values", "field"), BAD_FILTERS)
def test_bad_filters_are_named_in_both(
    ingress: Any, stages: Any, check_problem: Any, path: str, values: dict[str, Any], field: str
) -> None:
    check_problem(ingress.ask("POST", path, json=TEXT | values), 422, field)
    assert not stages.requests


@pytest.mark.parametrize("field", ["phrase_min_tempo", "phrase_max_tempo", "phrase_variety"])
@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_json_does_not_have(ingress: Any, check_problem: Any, constant: str, field: str) -> None:
    body = f'{{"text_prompt": "x", "{field}": {constant}}}'.encode()
    headers = {"Content-Type": "application/json"}
    check_problem(ingress.ask("POST", SEARCH, content=body, headers=headers), 422, field)


def test_bad_bodies(ingress: Any, stages: Any, check_problem: Any) -> None:
    for body in (b"", b"{", b"[]", b"null", b"NaN", b'{"a":' * 10_000):
        headers = {"Content-Type": "application/json"}
        check_problem(ingress.ask("POST", SEARCH, content=body, headers=headers), 422, "body")
    check_problem(
        ingress.ask("POST", SEARCH, content=b"x", headers={"Content-Type": "text/plain"}), 415, "Content-Type"
    )
    check_problem(ingress.ask("POST", SEARCH, files=[("start", ("s.npz", b"PK"))]), 422, "start")
    both = [("audio", ("a.wav", b"RIFF")), ("features", ("f.npy", b"\x93NUMPY"))]
    check_problem(ingress.ask("POST", SEARCH, files=both), 422, "features")
    check_problem(ingress.ask("POST", SEARCH, files=[("top_n", (None, "nan"))]), 422, "top_n")
    many = [(f"f{i}", (None, "1")) for i in range(100)]
    check_problem(ingress.ask("POST", SEARCH, files=many), 422, "body")
    check_problem(ingress.ask("GET", SEARCH), 405)
    assert not stages.requests


def test_nothing_found_says_why(ingress: Any, stages: Any, library: PhraseLibrary) -> None:
    stages.found = SearchResult([], facts(library), "no phrase passes the filter")
    document = ingress.ask("POST", SEARCH, json=TEXT | {"phrase_genre": "polka"}).json()
    assert (document["phrases"], document["reason"]) == ([], "no phrase passes the filter")
    stages.found = SearchResult([], None, "there is no phrase library")
    document = ingress.ask("POST", SEARCH, json=TEXT).json()
    assert (document["library"], document["phrases"], document["reason"]) == (None, [], "there is no phrase library")


@pytest.mark.parametrize(
    ("error", "status"), [(InvalidArtifact("/srv/lib"), 500), (BackendUnavailable("a replica"), 503)]
)
def test_failures_of_a_search(
    ingress: Any, stages: Any, check_problem: Any, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
) -> None:
    async def fail(*args: Any) -> SearchResult:
        raise error

    monkeypatch.setattr(stages, "search", fail)
    response = ingress.ask("POST", SEARCH, json=TEXT)
    check_problem(response, status)
    assert "/srv" not in response.text


def test_searches_are_admitted_like_dances(ingress: Any, stages: Any, check_problem: Any) -> None:
    async def run() -> None:
        inside, go = asyncio.Event(), asyncio.Event()

        async def hold(job: MotionRequest) -> None:
            inside.set()
            await go.wait()

        stages.action = hold
        async with ingress.connect(max_ongoing_requests=1, max_queued_requests=0) as connection:
            dance = asyncio.create_task(connection.post("/v1/generate", json=TEXT))
            await inside.wait()
            check_problem(await connection.post(SEARCH, json=TEXT), 429)
            go.set()
            assert (await dance).status_code == 200
            assert (await connection.post(SEARCH, json=TEXT)).status_code == 200

    asyncio.run(run())


def test_the_library_describes_itself(ingress: Any, stages: Any, found: SearchResult) -> None:
    assert ingress.ask("GET", "/v1/phrases").json() == {"library": None}
    stages.found = found
    document = ingress.ask("GET", "/v1/phrases").json()["library"]
    assert (document["phrases"], document["text_encoder"], document["index"]) == (4, "words", "flat")


def test_the_interface_describes_searches(ingress: Any) -> None:
    description = ingress.ask("GET", "/openapi.json").json()
    assert {SEARCH, "/v1/phrases"} <= set(description["paths"])
    body = description["paths"][SEARCH]["post"]["requestBody"]["content"]
    for schema in body.values():
        properties = set(schema["schema"]["properties"])
        assert {"text_prompt", "audio", "features", "top_n", "phrase_genre", "phrase_variety"} <= properties
        assert not {"start", "num_steps", "seed"} & properties
    generate = description["paths"]["/v1/generate"]["post"]["requestBody"]["content"]["multipart/form-data"]
    assert {"phrase_genre", "phrase_licence", "phrase_min_tempo"} <= set(generate["schema"]["properties"])


# Priors in the answers of generate


def prior(library: PhraseLibrary) -> RetrievalResult:
    phrase = library[0]
    used = UsedPhrase(
        phrase.id, 0.75, 0.5, 1.0, phrase.source, phrase.start, phrase.genre, phrase.caption, phrase.licence
    )
    mask = np.ones(196, np.float32)
    mask[:49] = 0
    made = Prior(np.zeros((196, 66), np.float32), mask, (used,))
    return RetrievalResult(made, "", library.version, CacheStats(True, 4242))


def test_a_dance_says_what_it_came_from(ingress: Any, stages: Any, library: PhraseLibrary) -> None:
    stages.retrieved = prior(library)
    meta = ingress.generate(TEXT).json()["meta"]
    assert meta["prior"] == {"used": True, "reason": None, "library": library.version[:12], "coverage": 0.75}
    (phrase,) = meta["phrases"]
    assert (phrase["id"], phrase["score"], phrase["weight"], phrase["licence"]) == (
        library[0].id, 0.75, 1.0, "apache-2.0",
    )  # fmt: skip
    assert read_npz(ingress.generate(TEXT | {"format": "npz"}).content).meta["prior"] == meta["prior"]


def test_a_dance_says_why_it_has_no_prior(ingress: Any, stages: Any, library: PhraseLibrary) -> None:
    stages.retrieved = RetrievalResult(None, "no phrase passes the filter", library.version)
    meta = ingress.generate(TEXT).json()["meta"]
    assert meta["prior"]["reason"] == "no phrase passes the filter"
    assert meta["phrases"] == []
    stages.retrieved = replace(prior(library))
    meta = ingress.generate(TEXT | {"use_rag": False}).json()["meta"]
    assert meta["prior"] == {"used": False, "reason": "use_rag is false", "library": None, "coverage": 0.0}


def test_priors_are_counted(ingress: Any, stages: Any, library: PhraseLibrary) -> None:
    async def run() -> str:
        async with ingress.connect() as connection:
            stages.retrieved = prior(library)
            for hit in (False, True, True):
                stages.retrieved = replace(stages.retrieved, cache=CacheStats(hit, 4242))
                await connection.post("/v1/generate", json=TEXT)
            await connection.post("/v1/generate", json=TEXT | {"use_rag": False})
            return (await connection.get("/metrics")).text

    lines = asyncio.run(run()).splitlines()
    for line in (
        'choreo_priors_total{used="true"} 3.0',
        'choreo_priors_total{used="false"} 1.0',
        'choreo_prior_cache_total{result="hit"} 2.0',
        'choreo_prior_cache_total{result="miss"} 1.0',
        "choreo_prior_cache_bytes 4242.0",
    ):
        assert line in lines


def test_the_documents_endpoint_is_what_it_was(ingress: Any, stages: Any, library: PhraseLibrary) -> None:
    stages.retrieved = prior(library)
    document = ingress.ask("POST", "/generate", json=TEXT | {"phrase_genre": "polka"}).json()
    assert set(document) == {"motion", "fps", "num_frames", "num_joints"}
    assert stages.requests[0].phrase_filter.allows_everything


# From the request to the library


def test_search_and_dance_agree(ingress: Any, stages: Any, libraries: tuple[Path, Path]) -> None:
    async def encode(request: MotionRequest, spec: Any) -> EncodedRequest:
        vector = WordEncoder().encode([request.text or ""])[0]
        return EncodedRequest(Conditioning(600, text=vector), Query(text=vector), "words")

    async def run() -> None:
        retriever = Retriever(libraries[0], 1 << 20)
        stages.encode, stages.retrieve, stages.search = encode, retriever.retrieve, retriever.search
        async with ingress.connect() as connection:
            asked = {"text_prompt": "a dancer walks", "phrase_max_tempo": 200}
            dance, search = await asyncio.gather(
                connection.post("/v1/generate", json=asked), connection.post(SEARCH, json=asked | {"top_n": 3})
            )
        retriever.close()
        meta, shown = dance.json()["meta"], search.json()
        assert meta["prior"]["library"] == shown["library"]["version"][:12]
        scores = {phrase["id"]: phrase["score"] for phrase in shown["phrases"]}
        assert len(scores) == 3
        assert {phrase["id"] for phrase in meta["phrases"]} <= set(scores)
        assert all(phrase["score"] == scores[phrase["id"]] for phrase in meta["phrases"])
        assert json.dumps(shown)

    asyncio.run(run())
