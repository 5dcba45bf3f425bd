"""Catalogs that a server dances, over HTTP: files and rows, servers that are busy, die or change, and leaving them."""

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import fsspec
import httpx
import pytest
from fake_troubles import LOST, FakeTroubles
from fake_workers import FakeWorkers, Place, prompts
from http_thread import HOST, served
from waiting import wait_until

from choreo.errors import AccessDenied, BackendUnavailable, ErrorAnswer, InvalidInput
from choreo.motion.formats.bvh import bvh_bytes
from choreo.motion.formats.json_format import json_bytes
from choreo.motion.formats.npz import npz_bytes, read_performance
from serving.batch import remote_worker
from serving.batch.items import seed_of
from serving.batch.progress import Silent
from serving.batch.run import BatchOptions, run_batch
from serving.http.ingress import create_app
from serving.pipeline.request import MotionRequest, Priority
from serving.ray.app import free_port
from serving.settings import Settings

BUSY = ErrorAnswer(429, "overloaded", 0)
AWAY = ErrorAnswer(503, "backend-unavailable", 0)


@dataclass
class RemotePlace(Place):
    """A folder with a catalog that a server dances.

    Attributes:
        server: in front of the stages.
        url: its address.
    """

    server: Any = None
    url: str = ""

    def run(self, catalog: Path | str, settings: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
        watcher = options.pop("watcher", Silent())
        given = {"out": str(self.out), "url": self.url} | options
        return run_batch(BatchOptions(str(catalog), **given), Settings(**(settings or {})), watcher)

    def names(self) -> Counter[str]:
        """How often each prompt was asked for."""
        return Counter(fields["text_prompt"] for fields in self.server.asked)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_worker, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(remote_worker, "_pause_s", lambda error: 0.01)


@pytest.fixture
def place(tmp_path: Path, stages: Any) -> Iterator[RemotePlace]:
    server = FakeTroubles(create_app(Settings(), stages.stages()))
    with served(server) as url:
        yield RemotePlace(tmp_path, FakeWorkers(), server, url)


def without_rows(data: bytes) -> Any:
    """A performance but for what depends on what the server did before."""
    performance = read_performance(data)
    return replace(performance, meta={name: v for name, v in performance.meta.items() if name != "rows"})


def test_the_files_are_those_of_the_server(place: RemotePlace, stages: Any, standing: Any, npy: Any) -> None:
    import numpy as np

    (place.folder / "song.wav").write_bytes(b"RIFF song")
    (place.folder / "start.npz").write_bytes(standing(3))
    (place.folder / "music.npy").write_bytes(npy(np.zeros((60, 35), np.float32)))
    fsspec.filesystem("memory").pipe_file("/songs/far.wav", b"RIFF far")
    bodies = {
        "prompt": {"text_prompt": "a waltz", "num_steps": 3, "duration": 1.5, "timeout": 5.0},
        "seeded": {"text_prompt": "a tango", "seed": 7, "priority": "interactive", "duration": 1.0},
        "song": {"audio": "song.wav", "duration": 1.0},
        "far": {"audio": "memory://songs/far.wav", "text_prompt": "x", "duration": 1.0},
        "features": {"features": "music.npy"},
        "start": {"text_prompt": "y", "start": "start.npz", "up": "z", "duration": 1.0},
    }
    catalog = place.catalog(*({"custom_id": name, "body": body} for name, body in bodies.items()))
    formats = ("npz", "bvh", "json")
    summary = place.run(catalog, settings={"catalog_protocols": ("memory",)}, formats=formats, preset="draft")
    assert (summary["state"], summary["succeeded"], summary["failed"]) == ("finished", 6, 0)
    asked = {request.seed: request for request in stages.requests}
    assert len(stages.requests) == len(asked) == 6  # one dance for all formats
    by_name = {name: asked[7 if name == "seeded" else seed_of(name)] for name in bodies}
    assert by_name["song"].audio == b"RIFF song"
    assert by_name["far"].audio == b"RIFF far"
    assert by_name["features"].features.shape == (60, 35)
    assert by_name["start"].start.meta["notes"] == ["is turned: z is up, as was asked for"]
    assert {name: r.priority for name, r in by_name.items() if name != "seeded"} == dict.fromkeys(
        (name for name in bodies if name != "seeded"), Priority.BULK
    )
    assert by_name["seeded"].priority is Priority.INTERACTIVE
    assert (by_name["prompt"].num_steps, by_name["song"].num_steps) == (3, 4)
    for row in place.results():
        name, files, meta = row["custom_id"], row["response"]["files"], row["response"]["meta"]
        assert files == {fmt: f"files/00000/{name}.{fmt}" for fmt in formats}
        written = {fmt: (place.out / path).read_bytes() for fmt, path in files.items()}
        performance = read_performance(written["npz"])
        assert (meta["seed"], meta["num_frames"]) == (by_name[name].seed, performance.num_frames)
        assert "rows" not in meta
        if name in ("prompt", "seeded"):
            fields = {"seed": meta["seed"], "preset": "draft"} | bodies[name]
            same = {f: httpx.post(f"{place.url}/v1/generate", json=fields | {"format": f}).content for f in formats}
            assert written["npz"] == npz_bytes(without_rows(same["npz"]))
            assert written["bvh"] == same["bvh"] == bvh_bytes(performance)
            theirs, ours = json.loads(same["json"]), json.loads(written["json"])
            assert (
                ours["positions"] == theirs["positions"]
                if "positions" in theirs
                else ours["motion"] == theirs["motion"]
            )
            assert written["json"] == json_bytes(performance)


def test_films_come_from_the_server(place: RemotePlace, stages: Any) -> None:
    (place.folder / "song.wav").write_bytes(b"RIFF song")
    catalog = place.catalog({"custom_id": "a", "body": {"audio": "song.wav", "format": "mp4", "duration": 1.0}})
    place.run(catalog)
    assert (place.out / "files/00000/a.mp4").read_bytes() == b"film"
    assert place.results()[0]["response"]["meta"] == {"seed": seed_of("a"), "notes": []}
    place.run(catalog, out=str(place.folder / "both"), formats=("mp4", "bvh"))
    assert [str(request.format) for request in stages.requests] == ["mp4", "npz", "mp4"]
    assert len({request.seed for request in stages.requests}) == 1
    (row,) = map(json.loads, (place.folder / "both" / "results.jsonl").read_text().splitlines())
    assert list(row["response"]["files"]) == ["mp4", "bvh"]


def test_what_is_wrong_with_an_item_is_its_own(place: RemotePlace, stages: Any) -> None:
    async def defect(request: MotionRequest) -> None:
        if request.text == "defect":
            raise ZeroDivisionError

    stages.action = defect
    catalog = place.catalog(
        {"custom_id": "steps", "body": {"text_prompt": "x", "num_steps": 0}},
        {"custom_id": "model", "body": {"text_prompt": "x", "model": "none"}},
        {"custom_id": "song", "body": {"audio": "missing.wav"}},
        {"custom_id": "defect", "body": {"text_prompt": "defect"}},
        *prompts(3, duration=1.0),
    )
    summary = place.run(catalog)
    assert (summary["state"], summary["succeeded"], summary["failed"]) == ("finished", 3, 4)
    errors = {row["custom_id"]: (row["response"]["status_code"], row["error"]) for row in place.results("errors.jsonl")}
    assert {name: (s, e["code"], e.get("field"), e["line"]) for name, (s, e) in errors.items()} == {
        "steps": (422, "invalid-input", "num_steps", 1),
        "model": (422, "invalid-input", "model", 2),
        "song": (422, "invalid-input", "audio", 3),
        "defect": (500, "internal", None, 4),
    }
    assert "must be one of fake" in errors["model"][1]["message"]
    assert sum(place.names().values()) == 5  # two were refused here, and nothing was asked twice
    stages.action = lambda request: asyncio.sleep(0)
    assert place.run(catalog)["tried"] == 0
    assert place.run(catalog, retry_failed=True)["failed"] == 3


def test_a_busy_server_is_sent_less_and_fails_nothing(place: RemotePlace) -> None:
    places = 3
    place.server.trouble = lambda fields: BUSY if place.server.under_way > places else None
    catalog = place.catalog(*prompts(60, duration=0.5))
    summary = place.run(catalog, settings={"batch_items": 32})
    assert (summary["state"], summary["succeeded"]) == ("finished", 60)
    assert set(place.names()) == {f"dance {i}" for i in range(60)}
    assert place.server.most <= 32


@pytest.mark.parametrize(("times", "failed"), [(2, 0), (3, 1)])
def test_a_dance_that_takes_too_long_is_tried_three_times(times: int, failed: int, place: RemotePlace) -> None:
    def trouble(fields: dict[str, Any]) -> ErrorAnswer | None:
        late = fields["text_prompt"] == "dance 1" and place.names()["dance 1"] <= times
        return ErrorAnswer(504, "deadline-exceeded") if late else None

    place.server.trouble = trouble
    assert place.run(place.catalog(*prompts(4, duration=0.5)))["failed"] == failed
    assert place.names()["dance 1"] == 3
    if failed:
        (row,) = place.results("errors.jsonl")
        assert (row["response"]["status_code"], row["error"]["code"]) == (504, "deadline-exceeded")


def test_as_many_items_are_under_way_as_the_settings_say(place: RemotePlace, stages: Any) -> None:
    inside = list[str]()

    async def together(request: MotionRequest) -> None:
        inside.append(request.text or "")
        while len(inside) < 6:
            await asyncio.sleep(0.01)

    stages.action = together
    place.run(place.catalog(*prompts(12, duration=0.5)), settings={"batch_items": 6})
    assert place.server.most == 6


def test_a_server_that_is_busy_for_good_stops_the_run(place: RemotePlace) -> None:
    place.server.trouble = lambda fields: BUSY
    catalog = place.catalog(*prompts(5, duration=0.5))
    summary = place.run(catalog, settings={"batch_patience_s": 0.0})
    assert (summary["state"], summary["left"]) == ("stopped", 5)
    assert "has taken no item" in summary["reason"]
    place.server.trouble = lambda fields: None
    assert place.run(catalog)["succeeded"] == 5


@pytest.mark.parametrize(
    "trouble", [AWAY, LOST, ErrorAnswer(502), ErrorAnswer(500), ErrorAnswer(507, "no-space", 0), ErrorAnswer(404)]
)
def test_a_server_that_is_away_is_waited_for(trouble: ErrorAnswer, place: RemotePlace) -> None:
    questions = iter(range(100))
    place.server.ready = lambda: next(questions) >= 3
    seen: set[str] = set()

    def once(fields: dict[str, Any]) -> ErrorAnswer | None:
        new = fields["text_prompt"] not in seen and len(seen) < 8
        seen.add(fields["text_prompt"])
        return trouble if new else None

    place.server.trouble = once
    summary = place.run(place.catalog(*prompts(20, duration=0.5)), settings={"batch_items": 8})
    assert (summary["state"], summary["succeeded"], summary["failed"]) == ("finished", 20, 0)
    assert next(questions) >= 4
    assert sum(place.names().values()) == 28


def test_what_was_done_is_not_asked_for_again_after_the_server_stayed_away(place: RemotePlace) -> None:
    catalog = place.catalog(*prompts(20, duration=0.5))
    place.server.trouble = lambda fields: AWAY if fields["text_prompt"] == "dance 9" else None
    place.server.ready = lambda: False
    summary = place.run(catalog, settings={"batch_items": 2, "batch_patience_s": 0.05})
    assert summary["state"] == "stopped"
    assert "has not answered for" in summary["reason"]
    assert 0 < summary["left"] <= 12
    assert len(place.results()) == 20 - summary["left"]
    done = {row["custom_id"] for row in place.results()}
    place.server.asked.clear()
    place.server.trouble, place.server.ready = lambda fields: None, lambda: True
    summary = place.run(catalog)
    assert (summary["state"], summary["left"], summary["tried"]) == ("finished", 0, 20 - len(done))
    assert len(place.server.asked) == 20 - len(done)
    other = RemotePlace(place.folder / "undisturbed", FakeWorkers(), place.server, place.url)
    other.folder.mkdir()
    other.run(catalog)
    assert place.files() == other.files()


def test_an_item_that_ends_the_connection_each_time_fails_alone(place: RemotePlace) -> None:
    place.server.trouble = lambda fields: LOST if fields["text_prompt"] == "dance 7" else None
    summary = place.run(place.catalog(*prompts(30, duration=0.5)), settings={"batch_items": 8})
    assert (summary["state"], summary["succeeded"], summary["failed"]) == ("finished", 29, 1)
    assert place.results()[7]["error"]["code"] == "worker-died"


def test_an_item_that_is_refused_while_others_are_danced_fails_alone(place: RemotePlace) -> None:
    """As by a gateway that does not let it through."""
    place.server.trouble = lambda fields: AWAY if fields["text_prompt"] == "dance 0" else None
    catalog = place.catalog(*prompts(30, duration=0.5))
    summary = place.run(catalog, settings={"batch_items": 2, "batch_patience_s": 0.3})
    assert (summary["state"], summary["succeeded"], summary["failed"]) == ("finished", 29, 1)
    assert place.results()[0]["response"]["status_code"] == 503
    assert place.results()[0]["error"]["code"] == "backend-unavailable"


def test_a_server_that_is_started_again_goes_on(tmp_path: Path, stages: Any) -> None:
    port, begun = free_port(HOST, 0), threading.Event()

    async def slow_at_first(request: MotionRequest) -> None:
        if request.text == "dance 12" and not begun.is_set():
            begun.set()
            await asyncio.Event().wait()

    stages.action = slow_at_first
    with ExitStack() as stack:
        stack.enter_context(served(create_app(Settings(), stages.stages()), port))
        place = RemotePlace(tmp_path, FakeWorkers(), url=f"http://{HOST}:{port}")
        catalog, summaries = place.catalog(*prompts(30, duration=0.5)), list[dict[str, Any]]()
        thread = threading.Thread(target=lambda: summaries.append(place.run(catalog, {"batch_items": 4})))
        thread.start()
        wait_until(begun.is_set)
        stack.pop_all().close()
        with served(create_app(Settings(), stages.stages()), port):
            thread.join()
    (summary,) = summaries
    assert (summary["state"], summary["succeeded"], summary["failed"]) == ("finished", 30, 0)


class FakeInterrupt(Silent):
    """Ctrl-C after some items."""

    def __init__(self, items: int) -> None:
        self._left = items

    def item(self, succeeded: bool) -> None:
        self._left -= 1
        if not self._left:
            raise KeyboardInterrupt


def test_nothing_is_under_way_after_an_interruption(place: RemotePlace, stages: Any) -> None:
    ended = list[str]()

    async def long(request: MotionRequest) -> None:
        if request.text in ("dance 0", "dance 1"):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                ended.append(request.text or "")
                raise

    stages.action = long
    catalog = place.catalog(*prompts(20, duration=0.5))
    summary = place.run(catalog, settings={"batch_items": 4}, watcher=FakeInterrupt(5))
    assert summary["state"] == "interrupted"
    assert len(place.results()) == 20 - summary["left"] >= 5
    wait_until(lambda: place.server.under_way == 0)
    assert sorted(ended) == ["dance 0", "dance 1"]
    stages.action = lambda request: asyncio.sleep(0)
    assert place.run(catalog)["left"] == 0


def changed(place: RemotePlace, path: str, **members: Any) -> None:
    """Have the server describe its first model, or its library, otherwise."""
    if path == "/v1/models":
        document = httpx.get(place.url + path).json()
        document["models"][0] |= members
        place.server.replaced[path] = document
    else:
        library = {"version": "a" * 64, "phrases": 3, "seconds": 9.0}
        place.server.replaced[path] = {"library": library | members}


@pytest.mark.parametrize(
    ("path", "members", "blamed"),
    [
        ("/v1/models", {"window": 60}, "model"),
        ("/v1/models", {"weights_sha256": "c" * 64}, "model"),
        ("/v1/phrases", {"version": "b" * 64}, "phrases"),
    ],
)
def test_another_server_is_refused_by_what_differs(
    path: str, members: dict[str, Any], blamed: str, place: RemotePlace
) -> None:
    catalog = place.catalog(*prompts(3, duration=0.5))
    place.run(catalog, limit=1)
    changed(place, path, **members)
    with pytest.raises(InvalidInput) as caught:
        place.run(catalog)
    assert caught.value.field == blamed
    place.server.replaced.clear()
    document = httpx.get(f"{place.url}/v1/models").json()
    document["models"].append(document["models"][0] | {"name": "another", "default": False})
    place.server.replaced["/v1/models"] = document  # which no row names
    with served(place.server) as elsewhere:
        place.url = elsewhere
        assert place.run(catalog)["left"] == 0
    document = json.loads((place.out / "run.json").read_text())
    assert document["server"]["url"] == elsewhere
    assert document["server"]["version"]["version"]
    with pytest.raises(InvalidInput) as caught:
        Place(place.folder, FakeWorkers()).run(catalog)
    assert caught.value.field == "url"


def test_generators_that_rows_name_count(place: RemotePlace) -> None:
    def serve(window: int) -> None:
        document = httpx.get(f"{place.url}/v1/models").json()
        document["models"][1:] = [document["models"][0] | {"name": "another", "default": False, "window": window}]
        place.server.replaced["/v1/models"] = document

    serve(60)
    catalog = place.catalog(
        *prompts(2, duration=0.5), {"custom_id": "a", "body": {"text_prompt": "x", "model": "another"}}
    )
    place.run(catalog, limit=1)
    serve(90)
    with pytest.raises(InvalidInput) as caught:
        place.run(catalog)
    assert caught.value.field == "model"
    serve(60)
    assert place.run(catalog)["left"] == 0


def test_a_run_of_this_machine_is_not_continued_by_a_server(place: RemotePlace) -> None:
    catalog = place.catalog(*prompts(3, duration=0.5))
    Place(place.folder, FakeWorkers()).run(catalog, limit=1)
    with pytest.raises(InvalidInput) as caught:
        place.run(catalog)
    assert caught.value.field == "url"


def test_a_server_that_comes_back_as_another_stops_the_run(place: RemotePlace) -> None:
    def trouble(fields: dict[str, Any]) -> ErrorAnswer | None:
        if fields["text_prompt"] != "dance 3" or place.server.replaced:
            return None
        changed_model = {"name": "fake", "window": 60, "fps": 30}
        place.server.replaced["/v1/models"] = {"models": [changed_model]}
        return LOST

    place.server.trouble = trouble
    summary = place.run(place.catalog(*prompts(9, duration=0.5)), settings={"batch_items": 1})
    assert summary["state"] == "stopped"
    assert "another model" in summary["reason"]


def test_motions_of_another_library_are_not_kept(place: RemotePlace, stages: Any) -> None:
    changed(place, "/v1/phrases")
    catalog = place.catalog(*prompts(9, duration=0.5))
    stages.retrieved = replace(stages.retrieved, library="a" * 64)
    assert place.run(catalog, limit=3)["state"] == "finished"
    stages.retrieved = replace(stages.retrieved, library="b" * 64)
    summary = place.run(catalog)
    assert (summary["state"], summary["left"]) == ("stopped", 6)
    assert "another phrase library" in summary["reason"]


@pytest.mark.parametrize(
    ("trouble", "message"),
    [
        (ErrorAnswer(401, "unauthorized"), "unauthorized"),
        (ErrorAnswer(500, "invalid-artifact"), "invalid-artifact"),
    ],
)
def test_what_would_meet_every_item_stops_the_run(trouble: ErrorAnswer, message: str, place: RemotePlace) -> None:
    place.server.trouble = lambda fields: trouble
    summary = place.run(place.catalog(*prompts(9, duration=0.5)))
    assert (summary["state"], summary["left"]) == ("stopped", 9)
    assert message in summary["reason"]


def test_a_time_that_the_server_does_not_give_is_named(tmp_path: Path, stages: Any) -> None:
    with served(create_app(Settings(max_timeout_s=60.0), stages.stages())) as url:
        place = RemotePlace(tmp_path, FakeWorkers(), url=url)
        catalog = place.catalog(*prompts(2, duration=0.5))
        assert "CHOREO_MAX_TIMEOUT_S" in place.run(catalog)["reason"]
        assert place.run(catalog, {"max_timeout_s": 60.0})["left"] == 0


def test_a_disk_that_is_full_stops_the_run(place: RemotePlace) -> None:
    catalog = place.catalog(*prompts(9, duration=0.5))
    place.out.mkdir()
    (place.out / "files").write_text("in the way")
    summary = place.run(catalog)
    assert summary["state"] == "stopped"
    assert "could not be written" in summary["reason"]
    (place.out / "files").unlink()
    assert place.run(catalog)["left"] == 0


def test_a_server_that_is_not_there_or_wants_a_key(
    place: RemotePlace, stages: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = place.catalog(*prompts(1))
    with pytest.raises(InvalidInput) as caught:
        place.run(catalog, url="server:8000")
    assert caught.value.field == "url"
    monkeypatch.setattr("choreo.client.connection.Retries", lambda: remote_worker.ONCE)
    with pytest.raises(BackendUnavailable):
        place.run(catalog, url=f"http://{HOST}:1")
    keys = place.folder / "keys.json"
    keys.write_text(json.dumps({"keys": [{"name": "a", "key": "k" * 16}]}))
    keys.chmod(0o600)
    with served(create_app(Settings(api_keys_file=keys), stages.stages())) as url:
        with pytest.raises(AccessDenied):
            place.run(catalog, url=url)
        assert not (place.out / "run.json").exists()
        monkeypatch.setenv("CHOREO_API_KEY", "k" * 16)
        assert place.run(catalog, url=url)["succeeded"] == 1
