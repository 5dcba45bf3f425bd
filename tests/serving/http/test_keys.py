"""API keys: who is let in, what is said to others, limits per key, and a file that changes."""

import asyncio
import base64
import hashlib
import json
import logging
from pathlib import Path
from typing import Any

import pytest
from waiting import wait_until

from choreo.errors import BackendUnavailable, InvalidInput, Overloaded
from serving.http.key_entries import read_keys
from serving.http.key_limits import WINDOW_S, Bucket
from serving.http.keys import KeyRing
from serving.pipeline.request import MotionRequest
from serving.settings import Settings

ANNA, BEN = "anna-has-a-long-key", "ben-has-a-longer-key"
TEXT = {"text_prompt": "a slow waltz"}


class Clock:
    """A clock that goes when it is told to."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def write(path: Path, *keys: dict[str, Any], mode: int = 0o600) -> Path:
    path.write_text(json.dumps({"keys": list(keys)}))
    path.chmod(mode)
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    digest = hashlib.sha256(BEN.encode()).hexdigest()
    return write(tmp_path / "keys.json", {"name": "anna", "key": ANNA}, {"name": "ben", "sha256": digest})


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.mark.parametrize("key", [ANNA, BEN])
def test_a_key_lets_in(ingress: Any, file: Path, key: str) -> None:
    settings = {"api_keys_file": file}
    assert ingress.generate(TEXT, headers=bearer(key), settings=settings).status_code == 200
    assert ingress.ask("GET", "/v1/version", headers={"authorization": f"bearer {key}"}, settings=settings).json()[
        "version"
    ]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        bearer(""),
        bearer("someone-elses-long-key"),
        bearer(ANNA[:-1]),
        {"Authorization": ANNA},
        {"Authorization": f"Basic {ANNA}"},
        bearer("é" * 20),
        [("Authorization", f"Bearer {ANNA}"), ("Authorization", f"Bearer {ANNA}")],
    ],
)
def test_without_one_nothing_is_read(ingress: Any, stages: Any, check_problem: Any, file: Path, headers: Any) -> None:
    if isinstance(headers, dict):
        headers = {name: value.encode("latin-1") for name, value in headers.items()}
    answer = ingress.generate(TEXT, headers=headers, settings={"api_keys_file": file})
    check_problem(answer, 401, "Authorization")
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert ANNA not in answer.text
    assert stages.requests == []


def test_probes_need_none(ingress: Any, file: Path) -> None:
    for path in ("/healthz", "/readyz", "/metrics"):
        assert ingress.ask("GET", path, settings={"api_keys_file": file}).status_code == 200
    closed = {"api_keys_file": file, "open_metrics": False}
    assert ingress.ask("GET", "/metrics", settings=closed).status_code == 401
    assert ingress.ask("GET", "/metrics", settings=closed, headers=bearer(ANNA)).status_code == 200


def test_limits_are_those_of_the_key(tmp_path: Path) -> None:
    path = write(
        tmp_path / "keys.json",
        {"name": "anna", "key": ANNA, "max_requests": 1},
        {"name": "ben", "key": BEN, "requests_per_minute": 2},
    )
    ring = KeyRing(Settings(api_keys_file=path))
    anna, ben = ring.caller(ANNA), ring.caller(BEN)
    assert anna is not None
    assert ben is not None
    with anna.request(), pytest.raises(Overloaded, match="'anna' has 1 requests under way"), anna.request():
        pass
    with anna.request():
        pass
    for _ in range(2):
        with ben.request():
            pass
    with pytest.raises(Overloaded, match="2 times a minute") as caught, ben.request():
        pass
    assert 1 <= caught.value.retry_after_s <= 30
    assert caught.value.limit == "requests_per_minute"
    assert ben.requests is not None
    ben.requests._counted_at -= 30
    with ben.request():
        pass


def test_too_many_are_answered_429(ingress: Any, check_problem: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "keys.json", {"name": "anna", "key": ANNA, "requests_per_minute": 1})

    async def twice() -> list[Any]:
        async with ingress.connect(api_keys_file=path) as client:
            return [await client.get("/v1/models", headers=bearer(ANNA)) for _ in range(2)]

    first, second = asyncio.run(twice())
    assert first.status_code == 200
    assert check_problem(second, 429)["limit"] == "requests_per_minute"
    assert int(second.headers["retry-after"]) >= 1


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("serving.http.key_limits.time.monotonic", made)
    return made


def test_a_bucket_holds_a_minute_and_is_owed_what_is_more(clock: Clock) -> None:
    bucket = Bucket(60)
    assert bucket.take(45) == 0
    assert bucket.take(30) == pytest.approx(15)
    clock.now += 15
    assert bucket.take(30) == 0
    assert bucket.take(600) == pytest.approx(60)  # a full one is enough
    clock.now += 60
    assert bucket.take(600) == 0
    assert bucket.take(0) == pytest.approx(540)
    bucket.correct(-10_000)
    assert bucket.take(61) == 0
    assert bucket.take(1) == pytest.approx(2)


def motion_keys(tmp_path: Path, seconds: float) -> dict[str, Any]:
    anna = {"name": "anna", "key": ANNA, "motion_seconds_per_minute": seconds}
    return {"api_keys_file": write(tmp_path / "keys.json", anna, {"name": "ben", "key": BEN})}


async def dance(client: Any, key: str = ANNA, **more: Any) -> Any:
    return await client.post("/v1/generate", json=TEXT | more, headers=bearer(key))


def test_motion_is_counted_in_seconds(ingress: Any, stages: Any, check_problem: Any, tmp_path: Path) -> None:
    async def fail(request: MotionRequest) -> None:
        if request.seed == 1:
            raise BackendUnavailable("down")

    stages.action = fail

    async def walk() -> None:
        async with ingress.connect(**motion_keys(tmp_path, 10)) as client:
            assert (await dance(client, duration=8, seed=1)).status_code == 503  # what fails does not count
            assert (await dance(client, duration=8)).status_code == 200
            refused = await dance(client, duration=8)
            problem = check_problem(refused, 429)
            assert problem["limit"] == "motion_seconds_per_minute"
            assert "'anna' may make 10 seconds of motion a minute" in problem["detail"]
            assert 30 <= int(refused.headers["retry-after"]) <= 36
            assert (await dance(client, duration=1)).status_code == 200
            assert (await dance(client, BEN, duration=8)).status_code == 200
            text = (await client.get("/metrics")).text
            assert 'choreo_refused_total{limit="motion_seconds_per_minute"} 1.0' in text

    asyncio.run(walk())
    assert len(stages.requests) == 4


def test_every_sample_counts(ingress: Any, check_problem: Any, tmp_path: Path) -> None:
    song = {"audio": base64.b64encode(b"RIFF").decode()}

    async def walk() -> None:
        async with ingress.connect(**motion_keys(tmp_path, 10)) as client:
            assert (await dance(client, duration=2, num_samples=4)).status_code == 200
            assert (await dance(client, duration=2, num_samples=2)).status_code == 429
            assert (await dance(client, duration=2)).status_code == 200
        async with ingress.connect(**motion_keys(tmp_path, 4 * WINDOW_S)) as client:
            assert (await dance(client, num_samples=3, **song)).status_code == 200
            assert (await dance(client, duration=WINDOW_S + 0.5)).status_code == 429
            assert (await dance(client, duration=WINDOW_S - 0.5)).status_code == 200

    asyncio.run(walk())


def test_a_song_counts_once_its_length_is_known(ingress: Any, tmp_path: Path) -> None:
    song = {"audio": base64.b64encode(b"RIFF").decode()}

    async def walk() -> None:
        async with ingress.connect(**motion_keys(tmp_path, 2 * WINDOW_S)) as client:
            assert (await dance(client, **song)).status_code == 200  # the stages make a window of it
            assert (await dance(client, duration=WINDOW_S + 0.5)).status_code == 429
            assert (await dance(client, duration=WINDOW_S - 0.5)).status_code == 200
            assert (await dance(client, **song)).status_code == 429

    asyncio.run(walk())


def test_jobs_count_when_they_are_submitted(ingress: Any, check_problem: Any, tmp_path: Path) -> None:
    body = {"requests": [TEXT | {"duration": 4.0, "format": "npz"}] * 5}

    async def walk() -> None:
        async with ingress.connect(data_dir=tmp_path / "data", **motion_keys(tmp_path, 12)) as client:

            async def submit(name: str, body: Any = body) -> Any:
                return await client.post("/v1/jobs", json=body, headers=bearer(ANNA) | {"Idempotency-Key": name})

            job = (await submit("one")).json()["id"]
            assert (await submit("one")).json()["id"] == job  # the same job costs nothing more
            refused = await submit("two")
            assert check_problem(refused, 429)["limit"] == "motion_seconds_per_minute"
            assert 90 <= int(refused.headers["retry-after"]) <= 100  # 20 s were asked for, and 12 more are needed
            assert (await dance(client, duration=1)).status_code == 429
            jobs = (await client.get("/v1/jobs", headers=bearer(ANNA))).json()["jobs"]
            assert [found["id"] for found in jobs] == [job]
            await client._transport.app.state.jobs.close()

    asyncio.run(walk())


def test_a_song_of_a_job_counts_when_it_is_danced(ingress: Any, tmp_path: Path) -> None:
    song = TEXT | {"audio": base64.b64encode(b"RIFF").decode(), "format": "npz"}

    async def walk() -> None:
        async with ingress.connect(data_dir=tmp_path / "data", **motion_keys(tmp_path, WINDOW_S)) as client:
            job = (await client.post("/v1/jobs", json=song, headers=bearer(ANNA))).json()["id"]
            async with asyncio.timeout(30):
                while (await client.get(f"/v1/jobs/{job}", headers=bearer(ANNA))).json()["state"] != "succeeded":
                    await asyncio.sleep(0.01)
            assert (await dance(client, duration=1)).status_code == 429
            await client._transport.app.state.jobs.close()

    asyncio.run(walk())


def test_keys_may_come_from_the_environment(ingress: Any, monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    monkeypatch.setenv("CHOREO_API_KEYS", file.read_text())
    settings = Settings()
    assert ANNA not in repr(settings)
    ring = KeyRing(settings)
    assert ring.on
    anna = ring.caller(ANNA)
    assert anna is not None
    assert ring.named("anna") is anna
    assert ring.caller("someone-elses-long-key") is None
    assert ingress.generate(TEXT).status_code == 401
    assert ingress.generate(TEXT, headers=bearer(ANNA)).status_code == 200
    with pytest.raises(InvalidInput, match="only one of both") as caught:
        KeyRing(Settings(api_keys_file=file))
    assert caught.value.field == "api_keys"
    monkeypatch.setenv("CHOREO_API_KEYS", '{"keys": [{"name": "a", "key": "' + ANNA + '", "rights": 1}]}')
    with pytest.raises(InvalidInput, match=r"keys\.0\.rights") as caught:
        KeyRing(Settings())
    assert (caught.value.field, ANNA in str(caught.value)) == ("api_keys", False)


def test_a_file_that_changes_is_read_again(
    file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("serving.http.keys.LOOK_S", 0.0)
    ring = KeyRing(Settings(api_keys_file=file))
    anna = ring.caller(ANNA)
    file.write_text("{")
    with caplog.at_level(logging.ERROR):
        assert ring.caller(ANNA) is anna
    assert "the API keys stay as they were" in caplog.text
    assert ANNA not in caplog.text
    write(file, {"name": "anna", "key": ANNA}, {"name": "cleo", "key": "cleo-has-a-new-key"})
    wait_until(lambda: ring.caller("cleo-has-a-new-key") is not None)
    assert ring.caller(ANNA) is anna  # what it has under way still counts
    assert ring.caller(BEN) is None


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ([], "keys"),
        ([{"name": "a", "key": "short"}], "keys.0.key"),
        ([{"name": "a"}], "either key or sha256"),
        ([{"name": "a", "key": ANNA, "sha256": "0" * 64}], "either key or sha256"),
        ([{"name": "a", "key": ANNA, "rights": "all"}], "keys.0.rights"),
        ([{"name": "a", "key": ANNA, "max_requests": 0}], "keys.0.max_requests"),
        ([{"name": "a", "key": ANNA}, {"name": "a", "key": BEN}], "same name twice"),
        ([{"name": "a", "key": ANNA}, {"name": "b", "key": ANNA}], "same key twice"),
    ],
)
def test_broken_files_are_refused_without_their_keys(tmp_path: Path, keys: list[Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message) as caught:
        read_keys(write(tmp_path / "keys.json", *keys))
    assert caught.value.field == "api_keys_file"
    assert ANNA not in str(caught.value)
    assert "short" not in str(caught.value)


def test_a_file_that_everybody_can_read_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "keys.json", {"name": "a", "key": ANNA}, mode=0o644)
    with pytest.raises(InvalidInput, match="can be read by everybody"):
        read_keys(path)
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_keys(tmp_path / "missing.json")
    path.chmod(0o640)
    assert [key.name for key in read_keys(path)] == ["a"]
    assert ANNA not in repr(read_keys(path))


def test_pages_of_other_origins_are_let_in_by_name(ingress: Any, file: Path) -> None:
    origin = {"Origin": "https://studio.example.org"}
    asking = origin | {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "Authorization"}
    settings = {"cors_origins": ("https://studio.example.org",), "api_keys_file": file}
    before = ingress.ask("OPTIONS", "/v1/generate", headers=asking, settings=settings)
    assert before.status_code == 200
    assert before.headers["access-control-allow-origin"] == "https://studio.example.org"
    refused = ingress.generate(TEXT, headers=origin, settings=settings)
    assert refused.status_code == 401
    assert refused.headers["access-control-allow-origin"] == "https://studio.example.org"
    done = ingress.generate(TEXT, headers=origin | bearer(ANNA), settings=settings)
    assert "X-Seed" in done.headers["access-control-expose-headers"]
    other = ingress.generate(TEXT, headers={"Origin": "https://elsewhere.org"} | bearer(ANNA), settings=settings)
    assert "access-control-allow-origin" not in other.headers
    assert "access-control-allow-origin" not in ingress.generate(TEXT, headers=origin).headers


def test_origins_are_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHOREO_CORS_ORIGINS", '["https://studio.example.org"]')
    assert Settings().cors_origins == ("https://studio.example.org",)
    monkeypatch.setenv("CHOREO_CORS_ORIGINS", "https://studio.example.org")
    with pytest.raises(InvalidInput, match="CHOREO_CORS_ORIGINS"):
        Settings()
