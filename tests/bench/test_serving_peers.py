"""Peers as processes: a fake one that leaves orphans behind, and real ones on the shipped checkpoint."""

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from bench.peers.process import Meter, PeerProcess
from bench.peers.table import PEERS, Peer, find_peers
from bench.raw_engine import Speed
from bench.serving_load import Load, body, measure
from choreo.errors import BackendUnavailable, InvalidInput
from choreo.generators.checkpoint import CONFIG
from choreo.motion.formats.npz import read_npz
from export.build import build_repository
from loadtest.bad_requests import GENERATE
from serving.settings import Settings

STEPS = 2
AROUND = Speed(200.0, 0.008, 100.0)
ORPHAN = """
import os, sys, time
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        asked.append(self.path)
        self.send_response(200 if len(asked) > BUSY else 503)
        self.end_headers()
        self.wfile.write(str(orphan).encode())

    def log_message(self, *args):
        pass

read, write = os.pipe()
if os.fork() == 0:
    os.setsid()
    pid = os.fork()
    if pid:
        os.write(write, str(pid).encode())
        os._exit(0)
    time.sleep(600)
    os._exit(0)
os.wait()
orphan, asked, BUSY = int(os.read(read, 32)), [], 0
HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@dataclass(frozen=True)
class FakePeer(Peer):
    """Runs a script."""

    script: str = ""

    def command(self, port: int) -> list[str]:
        return [sys.executable, "-c", self.script, str(port)]


def test_what_a_peer_starts_is_found_measured_and_ended_even_without_a_parent(tmp_path: Path) -> None:
    with PeerProcess(FakePeer("fake", (), script=ORPHAN), tmp_path) as process:
        orphan = int(process.answer("/", {}))
        with Meter(process.processes) as meter:
            pids = {one.pid for one in process.processes()}
        assert orphan in pids
        assert len(pids) == 2
        assert 0 < meter.usage.peak_mib < 1000
        assert sum(meter.usage.cpu_s.values()) >= 0
    assert not psutil.pid_exists(orphan)
    assert process.processes() == []


def test_a_process_that_comes_later_counts_from_its_begin() -> None:
    processes: list[psutil.Process] = []
    with Meter(lambda: processes) as meter:
        processes.append(psutil.Process())
    spent = psutil.Process().cpu_times()
    assert sum(meter.usage.cpu_s.values()) == pytest.approx(spent.user + spent.system, rel=0.2)


def test_a_peer_that_cannot_start_says_why(tmp_path: Path) -> None:
    with (
        PeerProcess(Peer("gone", ("no_such_module",)), tmp_path) as process,
        pytest.raises(BackendUnavailable, match=r"gone ended.*no_such_module"),
    ):
        process.answer(GENERATE, {})
    assert process.processes() == []


def test_a_peer_that_is_not_ready_is_asked_again_until_it_is_given_up(tmp_path: Path) -> None:
    script = ORPHAN.replace("BUSY = int(os.read(read, 32)), [], 0", "BUSY = int(os.read(read, 32)), [], 3")
    with PeerProcess(FakePeer("fake", (), script=script), tmp_path) as process:
        assert process.answer("/", {}).isdigit()
        with pytest.raises(BackendUnavailable, match=r"did not answer within 0 s"):
            process.answer("/", {}, timeout_s=0)


@pytest.fixture(scope="module")
def reference() -> dict[str, Any]:
    """Settings whose checkpoint is there, with its repository built."""
    settings = Settings()
    if not (settings.weights / CONFIG).is_file():
        pytest.skip("no checkpoint is shipped")
    build_repository(settings.weights, settings.model_repo)
    return {}


def _measured(name: str, folder: Path) -> np.ndarray:
    """Start a real peer, load it for a moment, and return its first motion."""
    (peer,) = find_peers([name])
    with PeerProcess(peer, folder) as process:
        motion = read_npz(process.answer(GENERATE, body(peer, 0, STEPS)))
        rows = motion.meta["rows"]["denoiser"]
        assert rows == 2 * STEPS
        cell = asyncio.run(measure(process, Load(users=3), STEPS, 0.5, rows, seed=0, before=AROUND))
        assert cell.figures.outcomes["served"] == cell.figures.requests >= 3
        assert sum(cell.cpu_s.values()) > 0
        assert cell.peak_mib > 50
        open_loop = asyncio.run(measure(process, Load(rate=4.0, name="open"), STEPS, 1.0, rows, seed=0, before=AROUND))
        assert open_loop.figures.outcomes["served"] == open_loop.figures.requests > 0
    assert process.processes() == []
    return motion.positions


@pytest.mark.e2e
@pytest.mark.usefixtures("reference")
def test_peers_serve_the_same_motion_and_leave_nothing(tmp_path: Path) -> None:
    motions = {name: _measured(name, tmp_path) for name in ("documents-torch", "documents-onnx", "litserve")}
    for motion in motions.values():
        assert motion.shape == (196, 22, 3)
        np.testing.assert_allclose(motion, motions["documents-torch"], atol=1e-3)


def _abandoned() -> set[Path]:
    """Folders and shared memory of processes that have ended; those of living ones belong to other programs."""
    owned = [path for folder in ("/tmp", "/dev/shm") for path in Path(folder).glob("choreo-*-*-*")]
    pids = {path: path.name.split("-")[2] for path in owned}
    return {path for path, pid in pids.items() if pid.isdigit() and not psutil.pid_exists(int(pid))}


@pytest.mark.e2e
@pytest.mark.usefixtures("reference")
@pytest.mark.parametrize("name", ["ray-batch", "choreo-batched"])
def test_peers_on_ray_leave_nothing(name: str, tmp_path: Path) -> None:
    before = _abandoned()
    assert _measured(name, tmp_path).shape == (196, 22, 3)
    assert _abandoned() <= before


@pytest.mark.usefixtures("reference")
def test_peers_refuse_what_they_cannot_do() -> None:
    from bench.peers.request_sampler import OnnxGraphs, RequestSampler

    sampler = RequestSampler(OnnxGraphs(Settings().model_repo), joined=True)
    fields = body(PEERS[0], 0, STEPS)
    for wrong in ({"sampler": "ddpm"}, {"duration": 10.0}):
        with pytest.raises(InvalidInput, match="one window"):
            sampler.job(fields | wrong)
    with pytest.raises(InvalidInput, match="num_steps"):
        sampler.generate([sampler.job(fields), sampler.job(fields | {"num_steps": 3})])
