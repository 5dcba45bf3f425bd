"""Both clients against a real server over the ingress, whose stages stand still."""

import asyncio
import inspect
import io
import json
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest
from http_thread import served
from hypothesis import given
from hypothesis import strategies as st

from choreo.client import AsyncClient, Client, GenerateFields, SearchFields
from choreo.client.fields import LISTS, STRUCTURED, form_texts, scalars
from choreo.client.problems import error_of
from choreo.client.wire import Answer
from choreo.errors import (
    AccessDenied,
    BackendUnavailable,
    ChoreoError,
    DeadlineExceeded,
    InvalidArtifact,
    InvalidInput,
    MissingDependency,
    NonFiniteOutput,
    Overloaded,
    ServerFailed,
)
from choreo.motion.clip import Motion
from choreo.motion.formats.bvh import write_bvh
from choreo.motion.formats.npz import read_npz
from choreo.motion.skeleton import NUM_JOINTS
from choreo.music.rhythm import Rhythm
from retrieval.library.library import Hit, PhraseLibrary
from serving.http.ingress import create_app
from serving.http.problems import HttpProblem, answer
from serving.pipeline import directing, text_values
from serving.pipeline import fields as server_fields
from serving.pipeline.phrases import LibraryFacts, SearchResult
from serving.pipeline.request import MotionRequest
from serving.pipeline.text_values import typed_text
from serving.settings import Settings
from serving.stages.library_facts import facts
from serving.versions import versions

Ask = Callable[..., Any]
FACTS = LibraryFacts("abc", 3, 12.5, {"cc0": 3}, "minilm", "flat", "cpu")


@pytest.fixture
def url(stages: Any) -> Iterator[str]:
    with served(create_app(Settings(), stages.stages())) as url:
        yield url


def blocking(url: str, method: str, *args: Any, client: dict[str, Any], **given: Any) -> Any:
    with Client(url, **client) as connection:
        return getattr(connection, method)(*args, **given)


def awaited(url: str, method: str, *args: Any, client: dict[str, Any], **given: Any) -> Any:
    async def run() -> Any:
        async with AsyncClient(url, **client) as connection:
            return await getattr(connection, method)(*args, **given)

    return asyncio.run(run())


@pytest.fixture(params=[blocking, awaited], ids=["sync", "async"])
def ask(request: pytest.FixtureRequest, url: str) -> Ask:
    """Calls a method of one of the clients."""
    return lambda method, *args, client=None, **given: request.param(url, method, *args, client=client or {}, **given)


def test_a_dance_has_motion_provenance_and_timings(ask: Ask, stages: Any) -> None:
    dance = ask("generate", "a slow waltz", seed=7, num_steps=3, duration=2.0, use_rag=False)
    assert dance.positions.shape == (60, NUM_JOINTS, 3)
    assert dance.positions.dtype == np.float32
    assert dance.motion.rotations is not None
    assert (dance.seed, dance.meta["prompt"], dance.meta["num_steps"]) == (7, "a slow waltz", 3)
    assert set(dance.server_seconds) == {"encode", "retrieve", "sample", "finish", "render"}
    assert dance.notes == ()
    (request,) = stages.requests
    assert (request.text, request.seed, request.use_rag, request.request_id) == (
        "a slow waltz", 7, False, dance.request_id,
    )  # fmt: skip


def test_the_seed_is_drawn_by_the_client(ask: Ask, stages: Any) -> None:
    dances = [ask("generate", "waltz", duration=1.0) for _ in range(2)]
    assert [dance.seed for dance in dances] == [request.seed for request in stages.requests]
    assert dances[0].seed != dances[1].seed


def test_json_is_read_and_other_formats_are_bytes(ask: Ask, tmp_path: Path) -> None:
    assert ask("generate", "waltz", duration=1.0, format="json").positions.shape == (30, NUM_JOINTS, 3)
    film = ask("generate", "waltz", duration=1.0, seed=5, format=".MP4")
    assert (film.content, film.save(tmp_path).name) == (b"film", "motion-5.mp4")
    assert (tmp_path / "motion-5.mp4").read_bytes() == b"film"
    with pytest.raises(InvalidInput, match="ask for npz or json"):
        _ = film.motion


@pytest.mark.parametrize("kind", ["path", "bytes", "file", "pipe"])
def test_songs_are_uploaded_from_wherever_they_are(ask: Ask, stages: Any, tmp_path: Path, kind: str) -> None:
    song = b"RIFF" * 50_000
    path = tmp_path / "song.wav"
    path.write_bytes(song)
    seen: list[tuple[int, int]] = []
    with path.open("rb") as file:

        class Pipe(io.RawIOBase):
            def read(self, size: int = -1) -> bytes:
                return file.read(size)

        source = {"path": path, "bytes": song, "file": file, "pipe": Pipe()}[kind]
        ask("generate", song=source, duration=1.0, foot_lock=False, progress=lambda *told: seen.append(told))
        assert not file.closed
    (request,) = stages.requests
    assert request.audio == song
    assert request.finish.foot_lock is False
    assert [sent for sent, _ in seen] == sorted(sent for sent, _ in seen)
    assert len(seen) > 1
    assert seen[-1] == (len(song), len(song))


def test_features_and_a_start_of_any_format_are_uploaded(ask: Ask, stages: Any, tmp_path: Path, standing: Any) -> None:
    motion = read_npz(standing(3))
    write_bvh(motion, tmp_path / "start.bvh")
    array = np.ones((60, 35))
    np.save(tmp_path / "f.npy", array.astype(np.float32))
    for features, start in ((array, motion), (tmp_path / "f.npy", tmp_path / "start.bvh")):
        ask("generate", features=features, start=start)
    for request in stages.requests:
        assert request.features.shape == (60, 35)
        assert request.start.num_frames == 3
        assert request.start.meta["notes"] == []


def test_what_was_done_to_a_start_is_noted(ask: Ask, stages: Any, standing: Any) -> None:
    motion = read_npz(standing(3))
    lying = Motion(motion.positions[..., [0, 2, 1]] * np.float32([1, -1, 1]), 30.0)
    (note,) = ask("generate", "waltz", start=lying, up="z").notes
    assert note == "start is turned: z is up, as was asked for"
    np.testing.assert_allclose(stages.requests[0].start.positions, motion.positions, atol=1e-6)


@pytest.mark.parametrize("beats", [[0, 0.5, 1 / 3 + 1], (0.0, 0.5, 1 / 3 + 1), np.array([0, 0.5, 1 / 3 + 1])])
def test_beats_are_said_of_a_song(ask: Ask, stages: Any, beats: Any) -> None:
    ask("generate", song=b"RIFF", beats=beats, half_time=True)
    ask("search", song=b"RIFF", bpm=np.float32(120))
    assert [r.rhythm for r in stages.requests] == [Rhythm(None, (0, 0.5, 1 / 3 + 1), True), Rhythm(120)]


def test_samples_and_the_warp_are_asked_for(ask: Ask, stages: Any) -> None:
    dance = ask("generate", song=b"RIFF", num_samples=2, on_beat=False, seed=3)
    (request,) = stages.requests
    assert (request.num_samples, request.finish.on_beat) == (2, False)
    assert [each["seed"] for each in dance.meta["samples"]] == [3, 4]
    assert dance.seed == 3


def test_beats_that_are_none_are_named(ask: Ask) -> None:
    for beats, field in (
        ([0, 1, float("nan")], "beats.2"),
        ([0, 1, 0.5], "beats.2"),
        ([0, [1]], "beats.1"),
        ([], "beats"),
    ):
        with pytest.raises(InvalidInput) as caught:
            ask("generate", song=b"RIFF", beats=beats)
        assert caught.value.field == field


def test_searches_models_library_and_readiness(ask: Ask, stages: Any) -> None:
    stages.found = SearchResult([], FACTS, "nothing fits")
    found = ask("search", "waltz", top_n=3, phrase_genre="waltz")
    assert (found.phrases, found.reason, found.library.phrases) == ((), "nothing fits", 3)
    assert found.query["text_prompt"] == "waltz"
    assert stages.searches[0][1] == 3
    (model,) = ask("models")
    assert (model.name, model.default, model.window, model.fps, model.num_joints) == ("fake", True, 196, 30, 22)
    assert ask("library").licences == {"cc0": 3}
    assert ask("version").versions == versions()
    assert ask("ready") is True


def test_who_is_not_ready_says_so(ask: Ask, stages: Any) -> None:
    stages.not_ready = BackendUnavailable("no")
    assert ask("ready") is False


def test_found_phrases_are_typed(ask: Ask, stages: Any, libraries: Any) -> None:
    library = PhraseLibrary.open(libraries[0])
    stages.found = SearchResult([Hit(library[0], 0.5, 0, 0.25)], facts(library))
    (phrase,) = ask("search", "waltz").phrases
    assert (phrase.rank, phrase.score, phrase.similarity) == (1, 0.5, 0.25)
    assert (phrase.id, phrase.source, phrase.genre) == (library[0].id, library[0].source, library[0].genre)


def test_errors_are_typed_and_name_the_field_and_the_request(ask: Ask) -> None:
    with pytest.raises(InvalidInput) as caught:
        ask("generate", "waltz", num_steps=0)
    assert (caught.value.field, str(caught.value)) == ("num_steps", "num_steps: must be between 1 and 250, got 0")
    assert caught.value.__notes__[0].startswith("request ")
    with pytest.raises(InvalidInput) as caught:
        ask("generate", "waltz", tempo=3)
    assert caught.value.field == "tempo"


@pytest.mark.parametrize(
    "wrong",
    [
        {"song": "/nowhere.wav"}, {"song": b""}, {"song": 3}, {"song": Path(__file__).parent},
        {"song": io.StringIO("text")}, {"features": object()}, {"features": "/nowhere.npy"}, {"start": "/nowhere.npz"},
        {"start": __file__}, {"up": "sideways", "start": "/nowhere.npz"}, {"timeout_s": 0}, {"timeout_s": float("nan")},
        {"timeout": 3.0}, {"duration": float("inf")}, {"guidance_scale": [1]}, {"bpm": float("nan")},
    ],
)  # fmt: skip
def test_what_cannot_be_sent_is_refused_here(wrong: dict[str, Any]) -> None:
    with Client("http://127.0.0.1:1") as client, pytest.raises(InvalidInput) as caught:
        client.generate("waltz", **wrong)
    assert caught.value.field == next(iter(wrong))


def test_a_server_with_keys_lets_in_who_has_one(stages: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, file = "anna-has-a-long-key", tmp_path / "keys.json"
    file.write_text(json.dumps({"keys": [{"name": "anna", "key": key}]}))
    file.chmod(0o600)
    with served(create_app(Settings(api_keys_file=file), stages.stages())) as url:
        for kind in (blocking, awaited):
            with pytest.raises(AccessDenied):
                kind(url, "models", client={})
            assert kind(url, "ready", client={}) is True
            assert kind(url, "generate", "waltz", client={"api_key": key}, duration=1.0).positions.shape[0] == 30
        monkeypatch.setenv("CHOREO_API_KEY", key)
        assert blocking(url, "models", client={})[0].name == "fake"


def test_the_deadline_travels(ask: Ask, stages: Any) -> None:
    left: list[float] = []

    async def note(request: MotionRequest) -> None:
        left.append(request.deadline)

    stages.action = note
    ask("generate", "waltz", timeout_s=1000.0)
    ask("generate", "waltz", client={"timeout_s": 500.0})
    assert 400 < left[0] - left[1] < 600


def test_a_missed_deadline_is_the_servers_to_tell(ask: Ask, stages: Any) -> None:
    async def late(request: MotionRequest) -> None:
        raise DeadlineExceeded("late")

    stages.action = late
    with pytest.raises(DeadlineExceeded, match="a faster preset"):
        ask("generate", "waltz")


@pytest.mark.parametrize("failure", [Overloaded(0), BackendUnavailable("down")])
def test_busy_servers_are_asked_again_with_the_same_seed(
    ask: Ask, stages: Any, failure: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds: list[int] = []

    async def busy_once(request: MotionRequest) -> None:
        seeds.append(request.seed)
        if len(seeds) == 1:
            raise failure

    monkeypatch.setattr("choreo.client.retries.retry_after_s", lambda answer: 0.0)
    stages.action = busy_once
    dance = ask("generate", "waltz", song=b"RIFF")
    assert seeds == [dance.seed, dance.seed]
    assert [request.audio for request in stages.requests] == [b"RIFF", b"RIFF"]


def test_who_is_impatient_gets_the_servers_error(ask: Ask, stages: Any) -> None:
    async def busy(request: MotionRequest) -> None:
        raise Overloaded(1000, "enough", "max_requests")

    stages.action = busy
    with pytest.raises(Overloaded) as caught:
        ask("generate", "waltz", timeout_s=30.0)
    assert (caught.value.retry_after_s, caught.value.limit) == (1000, "max_requests")
    assert len(stages.requests) == 1


def test_an_awaited_call_that_is_cancelled_stops_the_work(url: str, stages: Any) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def run() -> None:
        loop = asyncio.get_running_loop()

        async def endless(request: MotionRequest) -> None:
            loop.call_soon_threadsafe(begun.set)
            try:
                await asyncio.Event().wait()
            finally:
                loop.call_soon_threadsafe(ended.set)

        stages.action = endless
        async with AsyncClient(url) as client:
            asking = asyncio.create_task(client.generate("waltz"))
            await begun.wait()
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            await asyncio.wait_for(ended.wait(), 30)

    asyncio.run(run())


ERRORS = [
    InvalidInput("duration", "is too long"), Overloaded(7), BackendUnavailable("x"), DeadlineExceeded("x"),
    NonFiniteOutput("x"), InvalidArtifact("x"), MissingDependency("x"), RuntimeError("x"),
]  # fmt: skip


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_every_error_of_the_server_comes_back_as_what_it_was(error: Exception) -> None:
    sent = answer(error, "id-1")
    came = error_of(Answer(sent.status_code, sent.headers, bytes(sent.body)))
    assert type(came) is (type(error) if isinstance(error, ChoreoError) else ServerFailed)
    assert came.__notes__ == ["request id-1"]
    if isinstance(error, InvalidInput):
        assert str(came) == str(error)
    if isinstance(error, Overloaded):
        assert isinstance(came, Overloaded)
        assert came.retry_after_s == error.retry_after_s


def test_a_missing_key_is_access_denied() -> None:
    sent = answer(HttpProblem(HTTPStatus.UNAUTHORIZED, "unauthorized", "send a key"), "id")
    assert type(error_of(Answer(401, sent.headers, bytes(sent.body)))) is AccessDenied


@pytest.mark.parametrize(
    ("mine", "theirs", "named"),
    [
        (SearchFields, server_fields.DanceFields, {"text_prompt"}),
        (GenerateFields, server_fields.GenerateFields, {"text_prompt", "seed", "timeout", "format"}),
    ],
)
def test_every_field_of_the_server_is_a_typed_keyword(mine: Any, theirs: Any, named: set[str]) -> None:
    fields = {name: info.annotation for name, info in theirs.model_fields.items() if name not in named}
    hints = get_type_hints(mine)
    assert hints.keys() == fields.keys()
    # What is JSON within JSON is a plain mapping here, and a model there.
    assert {name: hints[name] for name in hints.keys() - STRUCTURED} == (
        {name: fields[name] for name in fields.keys() - STRUCTURED}
    )
    assert LISTS == text_values.LISTS
    assert STRUCTURED == directing.STRUCTURED


def test_both_clients_have_the_same_methods() -> None:
    def public(kind: type) -> dict[str, Any]:
        found = {n: v for n, v in vars(kind).items() if not n.startswith("_") and inspect.isroutine(v)}
        return {name: str(inspect.signature(value)).replace("Async", "") for name, value in found.items()}

    assert public(Client) == public(AsyncClient)


VALUES = st.one_of(
    st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False, width=64)
)


@given(value=VALUES)
def test_form_texts_are_read_as_the_values_that_they_were(value: bool | int | float) -> None:
    name = {bool: "use_rag", int: "seed", float: "guidance_scale"}[type(value)]
    (text,) = form_texts(scalars({name: value})).values()
    read = typed_text(name, text, server_fields.GenerateFields)
    assert (type(read), read) == (type(value), value)


@given(beats=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_lists_in_forms_are_read_as_they_were(beats: list[float]) -> None:
    (text,) = form_texts(scalars({"beats": beats})).values()
    assert typed_text("beats", text, server_fields.GenerateFields) == beats
