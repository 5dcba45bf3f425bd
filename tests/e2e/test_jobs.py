"""Jobs through the real Ray Serve and Triton: ingresses that are killed, a server that is started again."""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
from waiting import wait_until

from choreo.motion.formats.npz import read_npz
from choreo.music.synth import synthesize_song, write_wav
from serving.ray.app import Server
from serving.settings import Settings
from serving.triton.supervisor import TritonServer

pytestmark = pytest.mark.e2e

ITEMS = 10
SAME_M = 1e-3
"""What Triton puts into one batch depends on the moment, and with it the rounding of a motion, metres."""
DANCE = {"num_steps": 30, "duration": 4.0, "use_rag": False, "format": "npz"}


@dataclass
class Running:
    """A server and its client."""

    server: Server
    client: httpx.Client

    def job(self, job: str) -> dict[str, Any]:
        found: dict[str, Any] = self.client.get(f"/v1/jobs/{job}").raise_for_status().json()
        return found

    def succeeded(self, job: str) -> int:
        """Requests of a job that are done; 0 while nobody answers."""
        try:
            return int(self.job(job)["counts"]["succeeded"])
        except httpx.HTTPError:
            return 0

    def ingress(self) -> psutil.Process | None:
        for process in self.server.session.processes():
            if ":choreo:Ingress" in " ".join(process.cmdline()):
                return process
        return None


@contextmanager
def serving(settings: Settings, triton: TritonServer) -> Iterator[Running]:
    with (
        Server(settings, [triton.grpc_url]) as server,
        httpx.Client(base_url=server.url, timeout=60, trust_env=False) as client,
    ):
        yield Running(server, client)


def test_a_job_goes_on_after_a_kill_and_a_restart(repository: Path, tmp_path: Path) -> None:
    samples, rate, _ = synthesize_song(120.0, 5.0)
    write_wav(tmp_path / "song.wav", samples, rate)
    rows = [
        {"custom_id": f"dance-{i}", "body": DANCE | {"text_prompt": "waltz", "audio": "song"}} for i in range(ITEMS)
    ]
    catalog = "\n".join(map(json.dumps, rows)).encode()
    settings = Settings(port=0, model_repo=repository, data_dir=tmp_path / "data", job_concurrency=1)
    with TritonServer(repository) as triton:
        with serving(settings, triton) as running:
            files = [("catalog", catalog), ("song", (tmp_path / "song.wav").read_bytes())]
            answer = running.client.post("/v1/jobs", files=files, headers={"Idempotency-Key": "one"})
            assert answer.status_code == 202, answer.text
            job = answer.json()["id"]
            wait_until(lambda: running.succeeded(job) >= 1)
            killed = running.ingress()
            assert killed is not None
            os.kill(killed.pid, signal.SIGKILL)
            wait_until(lambda: running.succeeded(job) >= 3)
            before = running.job(job)
            assert before["state"] == "running"
            running.server.drain()
        with serving(settings, triton) as running:
            again = running.client.post("/v1/jobs", files=files, headers={"Idempotency-Key": "one"})
            assert again.json()["id"] == job
            wait_until(lambda: running.job(job)["state"] == "succeeded", 120)
            done = running.job(job)
            assert done["created_at"] == before["created_at"]
            lines = [json.loads(line) for line in running.client.get(f"/v1/jobs/{job}/results").text.splitlines()]
            assert [line["error"] for line in lines] == [None] * ITEMS
            assert [line["custom_id"] for line in lines] == [row["custom_id"] for row in rows]
            for line in (lines[0], lines[-1]):
                got = read_npz(running.client.get(line["response"]["files"][0]["url"]).content)
                fields = {name: json.dumps(value).strip('"') for name, value in DANCE.items()}
                fields |= {"text_prompt": "waltz", "seed": str(line["response"]["meta"]["seed"])}
                now = running.client.post("/v1/generate", data=fields, files={"audio": files[1][1]})
                np.testing.assert_allclose(got.positions, read_npz(now.content).positions, atol=SAME_M)
            assert running.client.delete(f"/v1/jobs/{job}").status_code == 204
    assert not list((tmp_path / "data" / "spool").iterdir())
