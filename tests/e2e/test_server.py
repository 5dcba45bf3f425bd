"""The real Ray Serve in front of the real Triton: every format, bad callers, callers that leave, replicas that die."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import psutil
import pytest
from native_engine import has_compiler
from waiting import wait_until

from choreo.motion.formats.bvh import read_bvh
from choreo.motion.formats.npz import npz_bytes, read_npz
from choreo.motion.kinematics import forward_kinematics
from choreo.music.synth import synthesize_song, write_wav
from serving.engines.local import LocalEngine
from serving.pipeline.fields import parse_fields
from serving.pipeline.request import Attachments
from serving.pipeline.validation import validated_request
from serving.ray.app import Server
from serving.settings import Settings
from serving.stages.local import LocalPipeline
from serving.triton.metrics import counted_rows, inference_counts
from serving.triton.supervisor import TritonServer

pytestmark = pytest.mark.e2e

RUNNING, QUEUED = 2, 2
STEPS = 4
SAME_M = 1e-3
"""What Triton puts into one batch depends on the moment, and with it the rounding of a motion, metres."""
DANCE = {"text_prompt": "a slow waltz", "num_steps": STEPS, "duration": 3.0, "seed": 11, "use_rag": False}
LONG = {"text_prompt": "a slow waltz", "num_steps": 250, "duration": 60.0, "guidance_scale": 2.0, "use_rag": False}


@dataclass
class Running:
    """Both servers, a client, and a song."""

    triton: TritonServer
    server: Server
    client: httpx.Client
    repository: Path
    song: bytes

    def generate(self, **fields: Any) -> httpx.Response:
        return self.client.post("/v1/generate", json=DANCE | fields)

    def upload(self, **fields: Any) -> httpx.Response:
        values = {k: json.dumps(v) if isinstance(v, bool) else str(v) for k, v in (DANCE | fields).items()}
        return self.client.post("/v1/generate", data=values, files={"audio": ("song.wav", self.song)})

    def danced(self, fields: dict[str, Any]) -> bytes:
        """The file of a request; one that names a song gets the song."""
        if "audio" not in fields:
            return self.client.post("/v1/generate", json=fields).raise_for_status().content
        values = {k: json.dumps(v) if isinstance(v, bool) else str(v) for k, v in fields.items() if k != "audio"}
        files = {"audio": ("song.wav", self.song)}
        return self.client.post("/v1/generate", data=values, files=files).raise_for_status().content

    def rows(self) -> dict[str, int]:
        """Rows that Triton inferred so far, by graph of the one generator that is served."""
        return {key.rpartition(".")[2]: count for key, count in inference_counts(self.triton).items()}

    def count(self, line: str) -> float:
        lines = self.client.get("/metrics").text.splitlines()
        return next((float(text.rpartition(" ")[2]) for text in lines if text.startswith(line)), 0.0)

    def replicas(self) -> dict[str, int]:
        """Process ids of the replicas by deployment."""
        names = {p.pid: " ".join(p.cmdline()) for p in self.server.session.processes()}
        found = {n.split(":choreo:")[1].split(".")[0].split("#")[0]: pid for pid, n in names.items() if ":choreo:" in n}
        return {name.strip(): pid for name, pid in found.items()}


@pytest.fixture(scope="module")
def running(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    song = tmp_path_factory.mktemp("songs") / "song.wav"
    samples, rate, _ = synthesize_song(120.0, 5.0)
    write_wav(song, samples, rate)
    settings = Settings(
        port=0, model_repo=repository, max_ongoing_requests=RUNNING, max_queued_requests=QUEUED, max_body_bytes=1 << 20,
        data_dir=tmp_path_factory.mktemp("data"),
    )  # fmt: skip
    with (
        TritonServer(repository) as triton,
        Server(settings, [triton.grpc_url]) as server,
        httpx.Client(base_url=server.url, timeout=120, trust_env=False) as client,
    ):
        yield Running(triton, server, client, repository, song.read_bytes())
        folder, started = server.session.folder, psutil.Process().children(recursive=True)
        assert folder is not None
    assert len(started) > 10
    assert [p.cmdline() for p in started if p.is_running() and p.status() != psutil.STATUS_ZOMBIE] == []
    assert not folder.exists()
    assert [name for name in os.listdir("/dev/shm") if f"-{os.getpid()}-" in name] == []
    port = urlsplit(server.url).port
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of the past may linger
        again.bind(("127.0.0.1", port))


def test_listens_on_loopback_only(running: Running) -> None:
    """Ray Serve's own channel between replicas is the exception; it asks for this session's token."""
    open_to_all = {}
    for process in running.server.session.processes():
        for connection in process.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and "127.0.0.1" not in connection.laddr.ip:
                open_to_all.setdefault(" ".join(process.cmdline()), []).append(connection.laddr)
    assert all(name.startswith("ray::ServeReplica") for name in open_to_all), open_to_all


def test_a_song_becomes_a_dance_in_every_format(running: Running) -> None:
    npz = running.upload(format="npz", foot_lock=False)
    assert npz.status_code == 200, npz.text
    motion = read_npz(npz.content)
    assert motion.num_frames == 90
    assert motion.meta["song"]
    assert motion.meta["tempo"] == pytest.approx(120, abs=3)
    assert npz.headers.get_list("x-request-id")[0]
    assert len(npz.headers.get_list("x-request-id")) == 1
    assert npz.headers["x-seed"] == "11"
    assert "sample;dur=" in npz.headers["server-timing"]

    document = running.upload(format="json", foot_lock=False).json()
    assert (document["num_frames"], document["num_joints"], document["fps"], document["seed"]) == (90, 22, 30, 11)
    np.testing.assert_allclose(np.array(document["motion"]), motion.positions, atol=1e-3)
    # The song and the prompt were conditioned on for the first answer, and their rows are kept.
    assert motion.meta["rows"] == {"conditioner": 2, "denoiser": 2 * STEPS}
    assert document["meta"]["rows"] == {"conditioner": 0, "denoiser": 2 * STEPS}
    assert document["meta"]["request_id"]

    bvh = running.upload(format="bvh", foot_lock=False).content
    np.testing.assert_allclose(read_bvh(bvh.decode()).positions, motion.positions, atol=2e-3)

    film = running.upload(format="mp4").content
    assert film[4:8] == b"ftyp"
    assert b"mp4a" in film


def test_the_same_seed_gives_the_same_motion_in_process_and_through_the_servers(running: Running) -> None:
    async def here() -> np.ndarray:
        engine, settings = LocalEngine(running.repository), Settings()
        fields = parse_fields(DANCE | {"foot_lock": False})
        request = validated_request(fields, Attachments(audio=running.song), settings)
        try:
            async with LocalPipeline(settings, engine=engine) as pipeline:
                return (await pipeline.run(request)).motion.positions
        finally:
            await engine.close()

    served = read_npz(running.upload(format="npz", foot_lock=False).content).positions
    assert np.abs(served - asyncio.run(here())).max() <= 1e-3


def test_triton_counts_the_rows_that_the_answer_tells(running: Running) -> None:
    with counted_rows(running.triton) as counted:
        meta = running.generate(guidance_scale=1.0).json()["meta"]
        told = meta["rows"]
        assert counted(meta["model"], told) == told == {"conditioner": 1, "denoiser": STEPS}


def test_a_long_motion_starts_where_it_is_told(running: Running) -> None:
    start = running.generate(format="npz", seed=5).content
    fields = {k: json.dumps(v) if isinstance(v, bool) else str(v) for k, v in DANCE.items()}
    fields |= {"duration": "14", "format": "npz", "foot_lock": "false"}
    answer = running.client.post("/v1/generate", data=fields, files={"start": ("start.npz", start)})
    assert answer.status_code == 200, answer.text
    motion = read_npz(answer.content)
    assert motion.num_frames == 420
    given = read_npz(start).positions
    assert np.abs(motion.positions[45] - given[45]).mean() < 0.1


def test_the_documents_endpoint(running: Running) -> None:
    answer = running.client.post("/generate", json={"text_prompt": "hip-hop", "use_rag": True})
    assert answer.status_code == 200, answer.text
    document = answer.json()
    assert set(document) == {"motion", "fps", "num_frames", "num_joints"}
    assert np.array(document["motion"]).shape == (196, 22, 3)


def test_animation_software_dances_over_its_own_protocol(running: Running) -> None:
    """The protocol's own client, and the motion of `POST /v1/generate` for the same seed."""
    from motionmcp.client import generate, get_capabilities, parse_gltf_samples

    url = str(running.client.base_url).rstrip("/") + "/mmcp"
    capabilities = get_capabilities(url)
    model = capabilities["models"][0]
    document = generate(
        url,
        {
            "protocol_version": capabilities["protocol_version"],
            "model": model["id"],
            "skeleton": model["canonical_skeleton"],
            "segments": [{"type": "text", "prompt": DANCE["text_prompt"], "duration_frames": 90}],
            "options": {"seed": DANCE["seed"], "diffusion_steps": STEPS},
        },
    )
    (sample,) = parse_gltf_samples(document)
    plain = running.generate(preset="fast", num_steps=STEPS, use_rag=True, format="npz")
    joints = forward_kinematics(sample["posed_joints"][:, 0], sample["local_rot_mats"])
    np.testing.assert_allclose(joints, read_npz(plain.content).positions, atol=SAME_M)


def test_a_catalog_is_danced_by_the_server(running: Running, tmp_path: Path) -> None:
    """More items at a time than the server takes, so that some are refused at first."""
    body = {name: value for name, value in DANCE.items() if name != "seed"}
    rows = [{"custom_id": f"prompt {i}", "body": body | {"text_prompt": f"dance number {i}"}} for i in range(12)]
    rows.append({"custom_id": "song", "body": {"audio": "song.wav", "num_steps": STEPS, "use_rag": False}})
    rows.append({"custom_id": "wrong", "body": {"text_prompt": "x", "model": "none"}})
    (tmp_path / "song.wav").write_bytes(running.song)
    (tmp_path / "catalog.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    refused = running.count('choreo_requests_total{route="/v1/generate",status="429"}')
    command = [sys.executable, "-m", "serving.cli.main", "batch", str(tmp_path / "catalog.jsonl"), "--json"]
    command += ["--out", str(tmp_path / "out"), "--url", running.server.url, "--format", "npz", "--format", "bvh"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["state"], summary["succeeded"], summary["failed"]) == ("finished", 13, 1)
    assert running.count('choreo_requests_total{route="/v1/generate",status="429"}') > refused
    results = [json.loads(line) for line in (tmp_path / "out" / "results.jsonl").read_text().splitlines()]
    assert [row["custom_id"] for row in results] == [row["custom_id"] for row in rows]
    assert (results[-1]["response"]["status_code"], results[-1]["error"]["field"]) == (422, "model")
    for row, asked in zip(results[:-1], rows, strict=False):
        fields = asked["body"] | {"seed": row["response"]["meta"]["seed"]}
        for name, path in row["response"]["files"].items():
            same, written = running.danced(fields | {"format": name}), (tmp_path / "out" / path).read_bytes()
            if name == "npz":  # but for what depends on what the server has encoded before
                motion = read_npz(same)
                same = npz_bytes(replace(motion, meta={k: v for k, v in motion.meta.items() if k != "rows"}))
            if has_compiler():  # rows do not depend on who shares their call
                assert written == same, path
            elif name == "npz":
                np.testing.assert_allclose(read_npz(written).positions, read_npz(same).positions, atol=SAME_M)


def test_bad_requests_leave_the_server_as_healthy_as_before(running: Running) -> None:
    with counted_rows(running.triton) as counted:
        wanted = running.generate(format="npz").content
        meta = read_npz(wanted).meta
        sent, model = meta["rows"], meta["model"]
        assert sent["denoiser"] == 2 * STEPS
        assert counted(model, sent) == sent
    replicas, restarts = running.replicas(), running.triton.restarts
    post = running.client.post
    json_header = {"Content-Type": "application/json"}
    bad: list[tuple[Callable[[], httpx.Response], int, str | None]] = [
        (lambda: running.generate(duration=-1), 422, "duration"),
        (lambda: running.generate(duration=1e9), 422, "duration"),
        (lambda: post("/v1/generate", content=b'{"duration": NaN}', headers=json_header), 422, "duration"),
        (lambda: post("/v1/generate", content=b"[" * 50_000, headers=json_header), 422, "body"),
        (lambda: post("/v1/generate", content=b"x", headers={"Content-Type": "text/plain"}), 415, "Content-Type"),
        (lambda: running.generate(sampler="euler"), 422, "sampler"),
        (lambda: running.generate(format="usd"), 422, "format"),
        (lambda: running.generate(model="other"), 422, "model"),
        (lambda: running.generate(guidance_scale=-1), 422, "guidance_scale"),
        (lambda: running.generate(text_prompt=None), 422, "text_prompt"),
        (lambda: running.generate(audio_url="https://example.org/a.wav"), 422, "audio_url"),
        (lambda: running.generate(text_prompt="x" * (2 << 20)), 413, "body"),
        (lambda: post("/v1/generate", content=(b"x" * 65536 for _ in range(64)), headers=json_header), 413, "body"),
        (lambda: post("/v1/generate", data={}, files={"audio": ("a.wav", b"RIFF nothing")}), 422, "audio"),
        (lambda: post("/v1/generate", data={}, files={"audio": ("a.wav", b"")}), 422, "audio"),
        (lambda: post("/v1/generate", data={}, files={"features": ("f.npy", b"\x93NUMPY")}), 422, "features"),
        (lambda: post("/generate", json={}), 400, "text_prompt"),
        (lambda: running.client.get("/v1/generate"), 405, None),
        (lambda: running.client.get("/nothing"), 404, None),
    ]
    with counted_rows(running.triton) as counted:
        for number, (send, status, field) in enumerate(bad):
            answer = send()
            assert answer.status_code == status, (number, answer.text)
            assert answer.headers["content-type"] == "application/problem+json"
            problem = answer.json()
            assert problem.get("field") == field
            assert problem["instance"] == answer.headers["x-request-id"]
        assert counted(model, {}) == dict.fromkeys(sent, 0)
    again, first = read_npz(running.generate(format="npz").content), read_npz(wanted)
    np.testing.assert_allclose(again.positions, first.positions, atol=SAME_M)
    assert running.client.get("/readyz").status_code == 200
    assert (running.replicas(), running.triton.restarts) == (replicas, restarts)
    assert running.count("choreo_requests_in_flight") == 1  # the question itself


def test_a_running_server_has_every_metric_of_dashboard_and_alerts(running: Running) -> None:
    monitoring = Path(__file__).resolve().parents[2] / "deploy"
    files = (monitoring / "grafana" / "choreo.json", monitoring / "prometheus" / "alerts.yml")
    wanted = {name for file in files for name in re.findall(r"\b(?:choreo|process)_[a-z0-9_]+\b", file.read_text())}
    assert running.generate(use_rag=True).status_code == 200
    running.generate(duration=-1)
    text = running.client.get("/metrics").text
    assert len(wanted) > 10
    assert {name for name in wanted if not re.search(rf"^{name}[ {{]", text, re.MULTILINE)} == set()


def test_callers_that_leave_free_the_sampler(running: Running) -> None:
    left = running.count('choreo_requests_total{route="/v1/generate",status="499"}')
    before = running.rows()["denoiser"]
    with abandoned(running, LONG):
        wait_until(lambda: running.rows()["denoiser"] > before)
    wait_until(lambda: running.count('choreo_requests_total{route="/v1/generate",status="499"}') == left + 1)
    at_end = running.rows()["denoiser"]
    # A whole dance later, at most the step that was under way and the next have been counted.
    assert running.generate().status_code == 200
    windows = 14
    assert running.rows()["denoiser"] - at_end <= 2 * STEPS + 2 * 2 * windows
    assert running.count("choreo_requests_in_flight") == 1


def test_a_full_house_refuses_at_once(running: Running) -> None:
    before = running.count("choreo_requests_in_flight")
    with abandoned(running, *[LONG] * (RUNNING + QUEUED)):
        wait_until(lambda: running.count("choreo_requests_in_flight") == before + RUNNING + QUEUED)
        began = time.monotonic()
        answer = running.generate()
        assert time.monotonic() - began < 2
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) >= 1
        assert running.client.get("/healthz").status_code == 200
    wait_until(lambda: running.count("choreo_requests_in_flight") == before)
    assert running.generate().status_code == 200


def test_a_replica_that_dies_costs_nobody_a_dance(running: Running) -> None:
    wanted = running.generate(format="npz").content
    pid = running.replicas()["Sampler"]
    before = running.rows()["denoiser"]
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(running.generate, num_steps=250)
        wait_until(lambda: running.rows()["denoiser"] > before)
        os.kill(pid, signal.SIGKILL)
        assert answer.result().status_code == 200, answer.result().text
    again = read_npz(running.generate(format="npz").content)
    np.testing.assert_allclose(again.positions, read_npz(wanted).positions, atol=SAME_M)
    wait_until(lambda: running.replicas().get("Sampler", pid) != pid)


def test_an_ingress_that_dies_listens_again(running: Running) -> None:
    pid = running.replicas()["Ingress"]
    os.kill(pid, signal.SIGKILL)

    def ready() -> bool:
        try:
            return running.replicas().get("Ingress", pid) != pid and running.client.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    wait_until(ready)
    assert running.generate().status_code == 200


def test_calls_are_answered_as_the_document_says(running: Running) -> None:
    """The last test of this server, which has jobs left to do when it ends."""
    from described_calls import call_all

    answers = call_all(running.server.url, examples=8)
    document = running.client.get("/openapi.json").json()
    called = {label for label, _ in answers}
    assert called == {f"{method.upper()} {path}" for path, found in document["paths"].items() for method in found}
    assert answers["POST /v1/generate", 200] > 0
    assert answers["POST /v1/generate", 422] > 0
    assert running.client.get("/readyz").status_code == 200


@contextmanager
def abandoned(running: Running, *requests: dict[str, Any]) -> Iterator[None]:
    """Requests that are sent, and hung up on at the end of the block."""
    address = urlsplit(running.server.url)
    with ExitStack() as connections:
        for request in requests:
            body = json.dumps(request).encode()
            head = "POST /v1/generate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            head += f"Content-Length: {len(body)}\r\n\r\n"
            connection = connections.enter_context(socket.create_connection((address.hostname, address.port)))
            connection.sendall(head.encode() + body)
        yield
