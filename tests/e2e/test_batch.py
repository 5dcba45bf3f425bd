"""`choreo batch` as a user runs it: killed at a random moment, interrupted, and on a cluster that loses a node."""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from waiting import wait_until

from choreo.motion.formats.npz import read_npz
from choreo.music.synth import synthesize_song, write_wav
from serving.ray.session import PREFIX, session_processes
from serving.triton.launch import TritonSettings
from serving.triton.supervisor import TritonServer
from serving.util.temporary import temporary_folders

pytestmark = pytest.mark.e2e

CHOREO = [sys.executable, "-m", "serving.cli.main", "batch"]
PROMPTS, SONGS = 72, 4
SOME = 6
SAME_M = 1e-3
"""What Triton puts into one batch depends on the moment, and with it the rounding of a motion, metres."""
TOKEN = "0" * 64
CLUSTER = """
import sys
from ray.cluster_utils import Cluster

options = {"num_cpus": 2, "object_store_memory": 100 << 20}
cluster = Cluster(initialize_head=True, head_node_args=options | {"include_dashboard": False})
node = cluster.add_node(**options)
print(cluster.address, flush=True)
sys.stdin.readline()
cluster.remove_node(node, allow_graceful=False)
sys.stdin.read()
cluster.shutdown()
"""


@pytest.fixture(scope="module")
def catalog(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prompts, songs, and items that cannot be danced."""
    folder = tmp_path_factory.mktemp("catalog")
    rows: list[dict[str, Any]] = []
    for i in range(PROMPTS):
        body = {"text_prompt": f"a dancer performs dance number {i}", "duration": 2.0, "num_steps": 20}
        rows.append({"custom_id": f"prompt {i}", "body": body})
    for i in range(SONGS):
        samples, rate, _ = synthesize_song(100.0 + 10 * i, 9.0)  # several windows
        write_wav(folder / f"song-{i}.wav", samples, rate)
        rows.insert(5 * i, {"custom_id": f"song-{i}", "body": {"audio": f"song-{i}.wav", "preset": "draft"}})
    rows.insert(7, {"custom_id": "missing", "body": {"audio": "missing.wav"}})
    rows.append({"custom_id": "wrong", "body": {"text_prompt": "x", "sampler": "none"}})
    path = folder / "catalog.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def undisturbed(catalog: Path) -> Path:
    """Results of a run that nothing came in between."""
    out = catalog.parent / "undisturbed"
    done = batch(catalog, out)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["state"], document["left"], document["failed"]) == ("finished", 0, 2)
    return out


def command(catalog: Path, out: Path, *more: str) -> list[str]:
    return [*CHOREO, str(catalog), "--out", str(out), "--format", "npz", "--format", "bvh", "--json", *more]


def batch(catalog: Path, out: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(catalog, out, *more), capture_output=True, text=True, timeout=300, check=False)


def started(catalog: Path, out: Path, *more: str) -> subprocess.Popen[str]:
    """A run that has done some more items: only it writes the journal, whatever a killed one's workers still do."""
    some = len(journal(out)) + random.randint(1, SOME)
    process = subprocess.Popen(
        command(catalog, out, *more), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    wait_until(lambda: process.poll() is not None or len(journal(out)) >= some, 120)
    return process


def journal(out: Path) -> list[bytes]:
    """Whole lines of the journal."""
    path = out / "journal.jsonl"
    return path.read_bytes().splitlines() if path.is_file() else []


def files(out: Path) -> dict[str, bytes]:
    """Everything that runs of one catalog must agree in, but for files that are being written."""
    found = [path for path in out.rglob("*") if path.is_file() and path.suffix != ".part"]
    names = {str(path.relative_to(out)): path for path in found if path.name not in ("run.json", "journal.jsonl")}
    return {name: path.read_bytes() for name, path in names.items()}


def sessions(pid: int) -> list[Path]:
    """Folders of the Ray that a command started."""
    return [path for place in temporary_folders() for path in place.glob(f"{PREFIX}{pid}-*")]


def actors(pid: int) -> list[psutil.Process]:
    """The processes that dance for a command."""
    found = [process for folder in sessions(pid) for process in session_processes(folder)]
    return [process for process in found if "DanceActor" in " ".join(process.cmdline())]


def test_every_item_is_danced_once(undisturbed: Path, catalog: Path) -> None:
    wanted = [json.loads(line)["custom_id"] for line in catalog.read_text().splitlines()]
    results = [json.loads(line) for line in (undisturbed / "results.jsonl").read_text().splitlines()]
    assert [row["custom_id"] for row in results] == wanted
    for row in results:
        names = row["response"]["files"]
        if row["error"] is None:
            assert set(names) == {"npz", "bvh"}
            motion = read_npz(undisturbed / names["npz"])
            assert motion.num_frames == row["response"]["meta"]["num_frames"]
        else:
            assert names == {}
    errors = {row["custom_id"]: row["error"] for row in results if row["error"]}
    assert {name: (error["field"], error["line"]) for name, error in errors.items()} == {
        "missing": ("audio", wanted.index("missing") + 1),
        "wrong": ("sampler", wanted.index("wrong") + 1),
    }
    assert len(files(undisturbed)) == 2 * (PROMPTS + SONGS) + 2


def test_a_run_that_is_killed_and_interrupted_ends_the_same(undisturbed: Path, catalog: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    killed = started(catalog, out)
    killed.kill()
    killed.communicate()
    interrupted = started(catalog, out)
    assert not sessions(killed.pid)  # swept by the next start
    os.kill(interrupted.pid, signal.SIGINT)
    _, stderr = interrupted.communicate(timeout=120)
    assert interrupted.returncode == 130, stderr
    assert "the same command goes on" in stderr
    assert not sessions(interrupted.pid)
    last = started(catalog, out)
    (actor,) = actors(last.pid)
    actor.kill()
    stdout, stderr = last.communicate(timeout=300)
    assert last.returncode == 0, stderr
    assert json.loads(stdout)["failed"] == 2
    assert files(out) == files(undisturbed)
    assert not list(out.rglob("*.part"))


def test_a_triton_dances_instead_and_may_die(
    undisturbed: Path, catalog: Path, repository: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with TritonServer(repository, TritonSettings()) as triton:
        process = started(catalog, out, "--triton-url", triton.grpc_url)
        assert triton.pid is not None
        os.kill(triton.pid, signal.SIGKILL)
        stdout, stderr = process.communicate(timeout=300)
    assert process.returncode == 0, stderr
    assert json.loads(stdout)["failed"] == 2
    motions = sorted(path.relative_to(undisturbed) for path in undisturbed.rglob("*.npz"))
    assert len(motions) == PROMPTS + SONGS
    for name in motions:
        ours, theirs = read_npz(out / name).positions, read_npz(undisturbed / name).positions
        np.testing.assert_allclose(ours, theirs, atol=SAME_M)


def test_a_cluster_dances_the_same_and_outlives_a_node(undisturbed: Path, catalog: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with two_nodes() as cluster:
        assert cluster.stdin is not None
        assert cluster.stdout is not None
        address = cluster.stdout.readline().strip()
        command_line = command(catalog, out, "--ray-address", address)
        environment = os.environ | {"RAY_AUTH_TOKEN": TOKEN, "CHOREO_BATCH_ITEMS": "8"}
        process = subprocess.Popen(
            command_line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )
        wait_until(lambda: process.poll() is not None or len(files(out)) >= 4, 120)
        cluster.stdin.write("remove a node\n")
        cluster.stdin.flush()
        stdout, stderr = process.communicate(timeout=300)
        assert process.returncode == 0, stderr
        assert json.loads(stdout)["failed"] == 2
        assert files(out) == files(undisturbed)


@contextmanager
def two_nodes() -> Iterator[subprocess.Popen[str]]:
    """A process with a cluster of two nodes on this machine: it prints the address, and removes a node at a line."""
    with tempfile.TemporaryDirectory(prefix="rc-") as folder:
        own = {"RAY_AUTH_TOKEN": TOKEN, "RAY_USAGE_STATS_ENABLED": "0", "RAY_TMPDIR": folder}
        process = subprocess.Popen(
            [sys.executable, "-c", CLUSTER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | own,
        )
        try:
            yield process
        finally:
            process.communicate(timeout=60)
