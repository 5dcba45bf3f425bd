"""The real tritonserver: what it computes, how it batches, and what is left of it after every kind of death."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from numpy.typing import NDArray
from tiny_generator import GRAPHS, tiny_inputs, tiny_repository, tiny_spec

from choreo.errors import BackendUnavailable, DeadlineExceeded, InvalidInput, MissingDependency, NonFiniteOutput
from serving.engines.leases import Leases
from serving.engines.local import LocalEngine
from serving.engines.triton import TritonEngine
from serving.triton import launch
from serving.triton import supervisor as triton
from serving.triton.launch import TritonSettings
from serving.triton.metrics import counted_rows, inference_counts
from serving.triton.supervisor import TritonServer, triton_version
from serving.util.ownership import SHARED_MEMORY, owner_prefix, sweep_stale

SPEC = tiny_spec()
CONDITIONER, DENOISER = KEYS = tuple(SPEC.key(graph) for graph in GRAPHS)
QUIET = TritonSettings(canary_period_s=3600, shared_memory_mib=2)
"""No canary disturbs the counters."""
NOSY = TritonSettings(poll_s=0.01, canary_period_s=0.01, shared_memory_mib=2)
WATCHFUL = TritonSettings(poll_s=0.05, canary_period_s=0.3, canary_timeout_s=1, shared_memory_mib=2)


def rows(count: int, graph: str = "denoiser", seed: int = 0, t: float = 0) -> dict[str, NDArray]:
    return tiny_inputs(SPEC, graph, count, seed, t)


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def left_behind(pid: int) -> list[str]:
    """Segments and folders that a process owns."""
    folders = (SHARED_MEMORY, Path(tempfile.gettempdir()))
    return [str(p) for folder in folders for p in folder.glob(f"choreo-*-{pid}-*")]


def shared_memory() -> list[Path]:
    return list(SHARED_MEMORY.glob(f"choreo-*-{os.getpid()}-*"))


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_repository(tmp_path_factory.mktemp("triton") / "model_repo")


@pytest.fixture(scope="class")
def server(repository: Path) -> Iterator[TritonServer]:
    with TritonServer(repository, QUIET) as server:
        yield server


@pytest.fixture(scope="class")
def watched(repository: Path) -> Iterator[TritonServer]:
    server = TritonServer(repository, WATCHFUL)
    # The thread that asks for a server may end; the server must not end with it.
    starter = threading.Thread(target=server.start)
    starter.start()
    starter.join()
    yield server
    server.stop()


async def settled(engine: TritonEngine) -> dict[str, int]:
    """The counters when they have stopped moving: Triton answers a request first and counts it a moment later."""
    counts: list[dict[str, int]] = []
    while len(counts) < 10 or counts[-10] != counts[-1]:
        counts.append(await engine.statistics())
        await asyncio.sleep(0.02)
    return counts[-1]


def using(server: TritonServer, test: Callable[[TritonEngine], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        engine = TritonEngine([server.grpc_url])
        try:
            await asyncio.wait_for(test(engine), 60)
        finally:
            await engine.close()

    asyncio.run(run())


@pytest.mark.e2e
class TestServing:
    def test_the_same_numbers_as_onnx_runtime_in_process(self, server: TritonServer, repository: Path) -> None:
        async def run(engine: TritonEngine) -> None:
            local = LocalEngine(repository)
            assert await engine.models() == await local.models() == {"tiny": SPEC}
            for graph, key in zip(GRAPHS, KEYS, strict=True):
                assert await engine.instances(key) == await local.instances(key)
                for count in (1, 5, SPEC.graph(graph).max_rows):
                    inputs = rows(count, graph, seed=count)
                    remote, here = await engine.infer(key, inputs), await local.infer(key, inputs)
                    assert remote.keys() == here.keys()
                    for name in here:
                        np.testing.assert_allclose(remote[name], here[name], atol=1e-6)
            await local.close()

        using(server, run)

    def test_concurrent_requests_share_batches_and_every_row_is_counted(self, server: TritonServer) -> None:
        async def run(engine: TritonEngine) -> None:
            before, executed = await settled(engine), executions(server)
            inputs = [rows(1, seed=i) for i in range(64)]
            results = await asyncio.gather(*[engine.infer(DENOISER, i) for i in inputs])
            for one, result in zip(inputs, results, strict=True):
                np.testing.assert_allclose(result["x0"], np.sqrt(one["x"]) / 2, rtol=1e-6)
            after = await settled(engine)
            assert after[DENOISER] - before[DENOISER] == 64
            assert 1 <= executions(server) - executed < 64

        using(server, run)

    def test_small_bursts_do_not_wait_for_the_batchers_clock(self, server: TritonServer) -> None:
        """With a queue limit in the configuration, two thirds of these bursts took more than 500 ms."""

        async def run(engine: TritonEngine) -> None:
            slow = 0
            for burst in range(40):
                began = time.monotonic()
                await asyncio.gather(*[engine.infer(DENOISER, rows(1, seed=i)) for i in range(2 + burst % 8)])
                slow += time.monotonic() - began > 0.45
            assert slow < 4

        using(server, run)

    def test_a_request_that_is_cancelled_in_the_queue_is_not_computed(self, server: TritonServer) -> None:
        async def run(engine: TritonEngine) -> None:
            began = time.monotonic()
            first = asyncio.create_task(engine.infer(DENOISER, rows(1, t=1e6)))
            # An answer on the same connection: the first request has arrived, and with an empty queue it is running.
            await engine.infer(CONDITIONER, rows(1, "conditioner"))
            await asyncio.to_thread(until, lambda: pending(server) == 0)
            second = asyncio.create_task(engine.infer(DENOISER, rows(1, t=1e6)))
            await asyncio.to_thread(until, lambda: pending(server) == 1)
            second.cancel()
            with pytest.raises(asyncio.CancelledError):
                await second
            await first
            slow, began = time.monotonic() - began, time.monotonic()
            await engine.infer(DENOISER, rows(1))
            assert time.monotonic() - began < slow / 2

        using(server, run)

    def test_a_deadline_does_not_wait_for_the_server(self, server: TritonServer) -> None:
        async def run(engine: TritonEngine) -> None:
            await engine.models()
            began = time.monotonic()
            with pytest.raises(DeadlineExceeded):
                await engine.infer(DENOISER, rows(1, t=1e6), deadline=began + 0.1)
            assert time.monotonic() - began < 0.4

        using(server, run)

    def test_bad_rows_and_bad_results(self, server: TritonServer) -> None:
        async def run(engine: TritonEngine) -> None:
            with pytest.raises(InvalidInput):
                await engine.infer(DENOISER, rows(1) | {"t": np.zeros((1, 2), np.float32)})
            with pytest.raises(NonFiniteOutput):
                await engine.infer(DENOISER, rows(1) | {"x": np.full((1, 8, 4), -1, np.float32)})

        using(server, run)

    def test_it_listens_on_loopback_only(self, server: TritonServer) -> None:
        assert server.pid is not None
        listening = [c for c in psutil.Process(server.pid).net_connections() if c.status == psutil.CONN_LISTEN]
        assert {c.laddr.ip.removeprefix("::ffff:") for c in listening} == {"127.0.0.1"}
        ports = {int(server.grpc_url.split(":")[1]), int(server.metrics_url.split(":")[2].split("/")[0])}
        assert {c.laddr.port for c in listening} == ports

    def test_health_and_version(self, server: TritonServer) -> None:
        assert server.healthy()
        assert server.healthy(max_age_s=60)
        assert triton_version().startswith("2.")
        server.start()
        assert server.restarts == 0


@pytest.mark.e2e
def test_rows_are_counted_without_canaries(repository: Path) -> None:
    with TritonServer(repository, NOSY) as server:
        before = inference_counts(server)
        until(lambda: all(inference_counts(server)[graph] > before[graph] for graph in KEYS))
        with counted_rows(server) as counted:
            assert counted(SPEC.name, {}) == dict.fromkeys(GRAPHS, 0)

            async def run(engine: TritonEngine) -> None:
                await engine.infer(DENOISER, rows(3))

            using(server, run)
            assert counted(SPEC.name, {"denoiser": 3}) == {"denoiser": 3, "conditioner": 0}
        before = inference_counts(server)
        until(lambda: inference_counts(server)[DENOISER] > before[DENOISER])


def test_no_server_counts_nothing() -> None:
    with counted_rows(None) as counted:
        assert counted(SPEC.name, {"denoiser": 3}) == {}


@pytest.mark.e2e
class TestDeath:
    @pytest.mark.parametrize(
        ("victim", "how"),
        [(victim, how) for victim in ("stub", "server") for how in (signal.SIGKILL, signal.SIGSTOP)],
    )
    def test_what_dies_or_hangs_is_replaced(self, watched: TritonServer, victim: str, how: signal.Signals) -> None:
        assert watched.pid is not None
        stubs = psutil.Process(watched.pid).children()
        assert len(stubs) == 2
        segments = shared_memory()
        url, restarts, old = watched.grpc_url, watched.restarts, watched.pid
        os.kill(old if victim == "server" else stubs[0].pid, how)
        until(lambda: not watched.healthy())
        until(lambda: watched.restarts > restarts and watched.healthy())
        served = Leases(watched.leases).served()
        assert served is not None
        assert served.restarts == watched.restarts
        assert watched.grpc_url == url
        assert watched.pid != old
        assert not [p for p in stubs if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
        assert len(shared_memory()) == len(segments)

        async def run(engine: TritonEngine) -> None:
            assert (await engine.infer(DENOISER, rows(1)))["x0"].shape == (1, 8, 4)

        using(watched, run)

    def test_an_engine_outlives_a_restart(self, watched: TritonServer) -> None:
        async def run(engine: TritonEngine) -> None:
            await engine.infer(DENOISER, rows(1))
            restarts, pid = watched.restarts, watched.pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            await asyncio.to_thread(until, lambda: watched.restarts > restarts)
            await engine.infer(DENOISER, rows(1))

        using(watched, run)


@pytest.mark.e2e
class TestEnd:
    def test_it_starts_beside_a_taken_port_and_stop_leaves_nothing(
        self, repository: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = set(left_behind(os.getpid()))
        server = TritonServer(repository, QUIET)
        server.stop()
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            choices = [[taken.getsockname()[1], triton.free_ports(1)[0]], triton.free_ports(2)]
            monkeypatch.setattr(triton, "free_ports", lambda count: choices.pop(0))
            server.start()
            assert not choices
            assert not server.grpc_url.endswith(f":{taken.getsockname()[1]}")
        assert server.pid is not None
        processes = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
        assert len(processes) == 3
        assert len(set(left_behind(os.getpid())) - before) == 3
        server.stop()
        server.stop()
        assert not psutil.wait_procs(processes, timeout=5)[1]
        assert set(left_behind(os.getpid())) <= before
        assert not server.healthy(max_age_s=3600)
        assert server.pid is None

    def test_a_model_that_does_not_load(self, tmp_path: Path) -> None:
        root = tiny_repository(tmp_path / "model_repo")
        (root / DENOISER / "1" / "model.onnx").write_bytes(b"broken")
        before, children = set(left_behind(os.getpid())), psutil.Process().children(recursive=True)
        server = TritonServer(root, QUIET)
        with pytest.raises(BackendUnavailable, match=rf"(?s)could load no model.*failed to load '{DENOISER}'"):
            server.start()
        assert set(psutil.Process().children(recursive=True)) <= set(children)
        assert set(left_behind(os.getpid())) <= before
        assert not server.healthy()

    def test_a_killed_parent_takes_the_server_along(self, repository: Path) -> None:
        program = (
            "import sys, time; from pathlib import Path; from serving.triton.supervisor import TritonServer\n"
            f"server = TritonServer(Path({str(repository)!r})); server.start(); print(server.pid, flush=True)\n"
            "time.sleep(600)"
        )
        parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
        assert parent.stdout is not None
        server = psutil.Process(int(parent.stdout.readline()))
        processes = [server, *server.children(recursive=True)]
        assert len(processes) == 3
        parent.kill()
        parent.wait()
        assert not psutil.wait_procs(processes, timeout=30)[1]
        sweep_stale()
        assert not left_behind(parent.pid)


@pytest.mark.e2e
def test_a_server_that_crashes_at_its_first_start_is_started_again(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crashes, spawn = [True], launch.spawn

    def crash_once(command: list[str], *rest: Any) -> subprocess.Popen[bytes]:
        return spawn(["/bin/sh", "-c", "kill -SEGV $$"] if crashes.pop() else command, *rest)

    monkeypatch.setattr(launch, "spawn", lambda *args: crash_once(*args) if crashes else spawn(*args))
    with TritonServer(repository, QUIET) as server:
        assert server.healthy()
    monkeypatch.setattr(launch, "spawn", lambda command, *rest: spawn(["/bin/false"], *rest))
    before = set(left_behind(os.getpid()))
    with pytest.raises(BackendUnavailable, match="ended with status 1 while it started"):
        server.start()
    assert set(left_behind(os.getpid())) <= before


def test_too_little_shared_memory_is_said_before_the_start(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "free_shared_memory", lambda: 3 << 20)
    monkeypatch.setattr(launch, "spawn", lambda *args: pytest.fail("it was started"))
    with pytest.raises(BackendUnavailable, match=r"^/dev/shm has 3 MiB free, and Triton needs 4 .*shm-size=[^\n]*$"):
        TritonServer(repository, QUIET).start()


def test_what_dead_owners_left_is_swept_and_the_rest_is_not() -> None:
    dead = subprocess.run(
        [sys.executable, "-c", "from serving.util.ownership import owner_prefix; print(owner_prefix())"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    namespace, pid, _ = owner_prefix().removeprefix("choreo-").split("-", 2)
    recycled = f"choreo-{namespace}-{pid}-1-aaaaaaaa-"
    elsewhere = dead.replace(f"choreo-{namespace}", "choreo-1")
    unrelated = "choreo-notes"
    names = {name: SHARED_MEMORY / f"{name}test" for name in (dead, recycled, owner_prefix(), elsewhere, unrelated)}
    folder = Path(tempfile.gettempdir()) / f"{dead}folder"
    try:
        for path in names.values():
            path.touch()
        (folder / "backends").mkdir(parents=True)
        sweep_stale()
        assert [path.exists() for path in names.values()] == [False, False, True, True, True]
        assert not folder.exists()
    finally:
        for path in names.values():
            path.unlink(missing_ok=True)


def test_without_a_repository_there_is_nothing_to_serve(tmp_path: Path) -> None:
    server = TritonServer(tmp_path)
    with pytest.raises(MissingDependency, match="choreo export"):
        server.start()
    server.stop()


def pending(server: TritonServer) -> int:
    """Requests in the denoiser's queue, by the server's metrics."""
    return metric(server, "nv_inference_pending_request_count")


def executions(server: TritonServer) -> int:
    """Batches that the denoiser has computed, by the server's metrics."""
    return metric(server, "nv_inference_exec_count")


def metric(server: TritonServer, name: str) -> int:
    with urllib.request.urlopen(server.metrics_url, timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    values = [line for line in lines if line.startswith(f"{name}{{") and DENOISER in line]
    return int(float(values[0].split()[-1]))
