"""What good requests get from the HTTP surface, in every format, and its probes."""

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

import httpx
import numpy as np
import pytest

from choreo.motion.formats.fbx import VARIABLE
from choreo.motion.formats.formats import FORMATS, Format
from choreo.motion.formats.npz import read_npz
from serving.http.audio_url import AudioFetcher
from serving.settings import Settings

TEXT = {"text_prompt": "a slow waltz"}


def test_json_answer(ingress: Any, stages: Any) -> None:
    response = ingress.generate(TEXT | {"seed": 5, "num_steps": 10})
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    document = response.json()
    assert {"motion", "fps", "num_frames", "num_joints", "seed", "meta"} == set(document)
    assert (document["fps"], document["num_frames"], document["num_joints"], document["seed"]) == (30, 196, 22, 5)
    assert np.array(document["motion"]).shape == (196, 22, 3)
    meta = document["meta"]
    assert meta["request_id"] == response.headers["x-request-id"] == stages.requests[0].request_id
    assert meta["model"] == "fake"
    assert meta["phrases"] == []
    assert set(meta["seconds"]) == {"encode", "retrieve", "sample", "finish"}
    assert meta["rows"] == {"conditioner": 2, "denoiser": 20}
    assert meta["versions"]["choreo"]
    assert meta["fit_residual"] == 0


@pytest.mark.parametrize("fmt", [fmt for fmt in FORMATS if not fmt.needs_blender])
def test_headers_of_every_format(ingress: Any, fmt: Format) -> None:
    response = ingress.generate(TEXT | {"seed": 7, "format": fmt.name})
    assert response.status_code == 200
    assert response.headers["content-type"].partition(";")[0] == fmt.media_type
    assert response.headers["x-seed"] == "7"
    assert len(response.headers.get_list("x-request-id")) == 1
    timing = dict(part.split(";dur=") for part in response.headers["server-timing"].split(", "))
    assert set(timing) == {"encode", "retrieve", "sample", "finish", "render"}
    assert all(float(milliseconds) >= 0 for milliseconds in timing.values())
    disposition = response.headers.get("content-disposition")
    assert disposition == (None if fmt is Format.JSON else f'attachment; filename="motion-7{fmt.suffix}"')
    assert int(response.headers["content-length"]) == len(response.content) > 0


def test_a_server_without_blender_says_so(ingress: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "/nowhere/blender")
    response = ingress.generate(TEXT | {"format": "fbx"})
    assert (response.status_code, response.json()["type"]) == (501, "urn:choreo:problem:missing-dependency")
    assert "FBX is written by Blender" in response.json()["detail"]
    assert "/nowhere" not in response.text


def test_npz_holds_the_motion_and_nothing_of_the_request(ingress: Any) -> None:
    first, second = (ingress.generate(TEXT | {"seed": 7, "format": "npz"}).content for _ in range(2))
    assert read_npz(first).meta["seed"] == 7
    assert first == second


def test_mp4_gets_song_and_title(ingress: Any, stages: Any) -> None:
    assert ingress.form(TEXT | {"format": "mp4"}, {"audio": ("song.wav", b"RIFF")}).content == b"film"
    assert stages.rendered == [(Format.MP4, b"RIFF", "a slow waltz")]


def test_form_values_are_typed(ingress: Any, stages: Any, standing: Any) -> None:
    fields = {
        "text_prompt": "12", "duration": "2.5", "guidance_scale": "1e0", "num_steps": "4", "sampler": "ddpm",
        "seed": "9223372036854775807", "use_rag": "false", "foot_lock": "false", "smooth": "true", "format": "npz",
        "model": "fake", "text_guidance": "1.5", "music_guidance": "4",
    }  # fmt: skip
    files = {"audio": ("song.mp3", b"ID3"), "start": ("start.npz", standing(3))}
    assert ingress.form(fields, files).status_code == 200
    (job,) = stages.requests
    assert (job.text, job.num_frames, job.guidance_scale, job.num_steps) == ("12", 75, 1.0, 4)
    assert (job.text_guidance, job.music_guidance) == (1.5, 4.0)
    assert (job.sampler, job.seed, job.use_rag, job.audio) == ("ddpm", 2**63 - 1, False, b"ID3")
    assert (job.finish.foot_lock, job.finish.smooth, job.finish.bone_lengths) == (False, True, True)
    assert job.start is not None
    assert job.start.num_frames == 3


def test_json_takes_attachments_in_base64(ingress: Any, stages: Any, standing: Any, npy: Any) -> None:
    features = base64.b64encode(npy(np.zeros((60, 35), np.float32))).decode()
    start = base64.b64encode(standing(2)).decode()
    assert ingress.generate({"features": features, "start": start, "audio": None}).status_code == 200
    (job,) = stages.requests
    assert job.features is not None
    assert job.features.shape == (60, 35)
    assert job.start is not None
    assert job.audio is None
    assert ingress.generate({"audio": base64.b64encode(b"RIFF").decode()}).status_code == 200
    assert stages.requests[1].audio == b"RIFF"


def test_the_way_up_of_a_start_can_be_said(ingress: Any, stages: Any, standing: Any) -> None:
    files = {"start": ("start.npz", standing(3))}
    for up in ("auto", "-z"):
        assert ingress.form(TEXT | {"up": up}, files).status_code == 200
    upright, lying = (request.start.positions for request in stages.requests)
    heights, depths = np.ptp(upright[0, :, 1]), np.ptp(upright[0, :, 2])
    np.testing.assert_allclose([np.ptp(lying[0, :, 1]), np.ptp(lying[0, :, 2])], [depths, heights], atol=1e-6)


def test_a_random_seed_is_told(ingress: Any) -> None:
    seeds = {ingress.generate(TEXT).headers["x-seed"] for _ in range(3)}
    assert len(seeds) == 3


@pytest.mark.parametrize("given", ["my-request.1", "0f" * 16])
def test_a_decent_request_id_is_kept(ingress: Any, given: str) -> None:
    response = ingress.ask("GET", "/healthz", headers={"X-Request-Id": given})
    assert response.headers.get_list("x-request-id") == [given]


@pytest.mark.parametrize("given", ["", "a b", "x" * 200, "<script>"])
def test_another_request_id_is_replaced(ingress: Any, given: str) -> None:
    assert ingress.ask("GET", "/healthz", headers={"X-Request-Id": given}).headers["x-request-id"] != given


def test_behind_a_proxy_the_proxy_names_requests(ingress: Any) -> None:
    async def run() -> httpx.Response:
        async with ingress.connect(proxied=True) as connection:
            return await connection.get("/v1/nothing", headers={"X-Request-Id": "abc"})

    response = asyncio.run(run())
    assert "x-request-id" not in response.headers
    assert response.json()["instance"] == "abc"


async def count(connection: httpx.AsyncClient, line: str) -> float:
    lines = (await connection.get("/metrics")).text.splitlines()
    return next((float(text.rpartition(" ")[2]) for text in lines if text.startswith(line)), 0.0)


# Songs by address


def test_a_song_by_address_is_fetched_after_all_checks(ingress: Any, stages: Any) -> None:
    fetched: list[str] = []

    async def resolve(host: str) -> list[str]:
        fetched.append(host)
        return ["93.184.215.14"]

    class Song(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b"RIFF"

    async def run() -> None:
        settings = {"allow_audio_url": True, "audio_url_hosts": ("songs.example.org",)}
        transport = httpx.MockTransport(lambda request: httpx.Response(200, stream=Song()))
        fetcher = AudioFetcher(Settings(**settings), resolve, transport=transport)
        async with ingress.connect(fetcher, **settings) as connection:
            good = {"audio_url": "https://songs.example.org/a.wav", "format": "mp4"}
            for bad in ({"num_steps": 0}, {"audio": "AAAA"}, {"audio_url": "https://example.org/"}, {"start": "AAAA"}):
                assert (await connection.post("/v1/generate", json=good | bad)).status_code == 422
            assert not fetched
            assert (await connection.post("/v1/generate", json=good)).status_code == 200
            assert stages.requests[0].audio == b"RIFF"
            assert stages.rendered[0][1] == b"RIFF"
            legacy = {"audio_url": good["audio_url"]}
            assert (await connection.post("/generate", json=legacy)).status_code == 200
            assert len(fetched) == 2

    asyncio.run(run())


# The documents' endpoint


def test_the_documents_request_and_answer(ingress: Any, stages: Any) -> None:
    # Their client sends all members, and null for what it does not have.
    response = ingress.ask("POST", "/generate", json={"audio_url": None, "text_prompt": "hip-hop", "use_rag": True})
    assert response.status_code == 200
    document = response.json()
    assert set(document) == {"motion", "fps", "num_frames", "num_joints"}
    assert (document["fps"], document["num_frames"], document["num_joints"]) == (30, 196, 22)
    assert np.array(document["motion"]).shape == (196, 22, 3)
    (job,) = stages.requests
    assert (job.guidance_scale, job.use_rag, job.text) == (7.5, True, "hip-hop")


def test_the_documents_duration(ingress: Any) -> None:
    for duration, frames in ((6.5, 196), (2, 60)):
        response = ingress.ask("POST", "/generate", json=TEXT | {"duration": duration})
        assert response.json()["num_frames"] == frames


@pytest.mark.parametrize("values", [{}, {"text_prompt": None, "audio_url": None}, {"text_prompt": "", "audio_url": ""}])
def test_the_documents_error_without_a_source(
    ingress: Any, stages: Any, check_problem: Any, values: dict[str, Any]
) -> None:
    problem = check_problem(ingress.ask("POST", "/generate", json=values), 400, "text_prompt")
    assert problem["detail"] == "Must provide audio_url or text_prompt"
    assert not stages.requests


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"audio_url": "song.mp3"}, "audio_url"),
        (TEXT | {"duration": -1}, "duration"),
        (TEXT | {"duration": "6.5"}, "duration"),
        (TEXT | {"guidance_scale": 21}, "guidance_scale"),
        (TEXT | {"use_rag": "yes"}, "use_rag"),
        ({"text_prompt": 1}, "text_prompt"),
    ],
)
def test_the_documents_request_is_checked(ingress: Any, check_problem: Any, values: dict[str, Any], field: str) -> None:
    check_problem(ingress.ask("POST", "/generate", json=values), 422, field)


def test_the_documents_endpoint_takes_json_only(ingress: Any, check_problem: Any) -> None:
    check_problem(ingress.ask("POST", "/generate", files={"audio": ("a", b"x")}), 415, "Content-Type")
    headers = {"Content-Type": "application/json"}
    check_problem(ingress.ask("POST", "/generate", content=b'{"duration": NaN}', headers=headers), 422, "duration")


# Probes


def test_models(ingress: Any) -> None:
    (model,) = ingress.ask("GET", "/v1/models").json()["models"]
    assert (model["name"], model["default"], model["fps"], model["num_joints"]) == ("fake", True, 30, 22)


def test_readiness_follows_the_stages(ingress: Any, stages: Any, check_problem: Any) -> None:
    assert ingress.ask("GET", "/readyz").json() == {"status": "ready"}
    stages.not_ready = RuntimeError("/srv/secret")
    response = ingress.ask("GET", "/readyz")
    check_problem(response, 503)
    assert "retry-after" in response.headers
    assert "secret" not in response.text
    assert ingress.ask("GET", "/healthz").json() == {"status": "alive"}


def test_readiness_is_probed_once_for_many_callers(ingress: Any, stages: Any) -> None:
    async def run() -> None:
        async with ingress.connect() as connection:
            answers = await asyncio.gather(*(connection.get("/readyz") for _ in range(10)))
            assert {answer.status_code for answer in answers} == {200}

    asyncio.run(run())
    assert stages.probes == 1


def test_metrics(ingress: Any) -> None:
    async def run() -> None:
        async with ingress.connect() as connection:
            await connection.post("/v1/generate", json=TEXT | {"num_steps": 10})
            await connection.post("/v1/generate", json={})
            await connection.get("/nothing/a")
            await connection.get("/nothing/b")
            response = await connection.get("/metrics")
            assert response.headers["content-type"].startswith("text/plain; version=")
            assert await count(connection, 'choreo_requests_total{route="/v1/generate",status="200"}') == 1
            assert await count(connection, 'choreo_requests_total{route="/v1/generate",status="422"}') == 1
            assert await count(connection, 'choreo_requests_total{route="other",status="404"}') == 2
            assert await count(connection, 'choreo_rows_total{graph="denoiser",model="fake"}') == 20
            assert await count(connection, 'choreo_motion_frames_total{model="fake"}') == 196
            for stage in ("encode", "retrieve", "sample", "finish", "render"):
                assert await count(connection, f'choreo_stage_seconds_count{{model="fake",stage="{stage}"}}') == 1

    asyncio.run(run())


def test_the_interface_describes_itself(ingress: Any) -> None:
    assert ingress.ask("GET", "/docs").status_code == 200
    description = ingress.ask("GET", "/openapi.json").json()
    body = description["paths"]["/v1/generate"]["post"]["requestBody"]["content"]
    assert set(body) == {"application/json", "multipart/form-data"}
    for schema in body.values():
        assert {"text_prompt", "audio", "features", "start", "duration", "seed"} <= set(schema["schema"]["properties"])
    assert set(description["paths"]) >= {"/generate", "/v1/models", "/healthz", "/readyz", "/metrics"}


def test_the_best_of_several_samples_is_answered_with_the_scores_of_all(ingress: Any, stages: Any) -> None:
    sampled: list[int] = []

    async def note(request: Any) -> None:
        sampled.append(request.num_samples)

    stages.action = note
    answer = ingress.generate({"text_prompt": "waltz", "seed": 4, "num_samples": 3, "duration": 1.0})
    assert answer.status_code == 200
    samples = answer.json()["meta"]["samples"]
    assert [(each["seed"], each["chosen"]) for each in samples] == [(4, False), (5, False), (6, True)]
    assert answer.headers["x-seed"] == "4"
    assert len(stages.requests) == 1  # encoded once
    assert sampled == [3, 3, 3]
    assert answer.json()["meta"]["rows"]["denoiser"] == 3 * 2 * 50
