"""Two servers on one machine with few files and no home, whose parts are killed while callers wait."""

import json
import os
import shutil
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from served import Command, serving
from waiting import wait_until

pytestmark = pytest.mark.e2e

FILES = 256
RUNNING, QUEUED = 8, 8
CALLERS = 12
STEPS = 100
SHARED_MIB = 640


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Iterator[tuple[Command, Command]]:
    limits = {"CHOREO_MAX_ONGOING_REQUESTS": str(RUNNING), "CHOREO_MAX_QUEUED_REQUESTS": str(QUEUED)}
    with ExitStack() as stack:
        yield (
            stack.enter_context(
                serving(
                    tmp_path_factory.mktemp("first"),
                    repository,
                    FILES,
                    SHARED_MIB if can_mount() else None,
                    HOME="/proc/no-home",
                    **limits,
                )
            ),
            stack.enter_context(serving(tmp_path_factory.mktemp("second"), repository)),
        )


def can_mount() -> bool:
    """Whether a process may have a /dev/shm of its own."""
    return shutil.which("unshare") is not None and not subprocess.call(
        ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/dev/shm"], stderr=subprocess.DEVNULL
    )


@contextmanager
def filled(folder: Path) -> Iterator[None]:
    """A file system without room."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(1 << 20)):
            pass
    assert not os.statvfs(folder).f_bavail
    try:
        yield
    finally:
        filler.unlink()


def is_there_again(server: Command, part: str, killed: int) -> bool:
    """Whether another process has taken the place of one that was killed."""
    try:
        return server.part(part).pid != killed
    except LookupError:
        return False


@pytest.mark.parametrize(
    "part",
    [
        "tritonserver",
        "triton_python_backend_stub",
        "ServeReplica:choreo:Encoder",
        "ServeReplica:choreo:Finisher",
        "ServeReplica:choreo:Retriever",
        "ServeReplica:choreo:Sampler",
    ],
)
def test_a_part_that_is_killed_under_load_costs_nobody_a_dance(servers: tuple[Command, Command], part: str) -> None:
    server, _ = servers
    wait_until(server.works)
    with ThreadPoolExecutor(CALLERS) as pool:
        inside = [pool.submit(server.dance, num_steps=STEPS, seed=i, use_rag=True) for i in range(CALLERS)]
        wait_until(lambda: server.in_flight() == CALLERS)
        killed = server.part(part)
        killed.kill()
        answers = Counter(answer.result().status_code for answer in inside)
    assert answers == {200: CALLERS}
    wait_until(lambda: is_there_again(server, part, killed.pid))


@pytest.mark.skipif(not can_mount(), reason="a /dev/shm that may be filled takes root to make")
@pytest.mark.parametrize("part", [None, "ServeReplica:choreo:Sampler", "tritonserver"])
def test_full_shared_memory_costs_nobody_a_dance(servers: tuple[Command, Command], part: str | None) -> None:
    """With a part that needs new regions meanwhile, there may be no dances until there is room."""
    server, _ = servers
    wait_until(server.works)
    killed = server.part(part) if part else None
    with ThreadPoolExecutor(CALLERS) as pool:
        with filled(server.shared_memory):
            inside = [pool.submit(server.dance, num_steps=STEPS, seed=i) for i in range(CALLERS)]
            wait_until(lambda: server.in_flight() == CALLERS)
            if killed is None:
                assert Counter(answer.result().status_code for answer in inside) == {200: CALLERS}
            else:
                killed.kill()
                killed.wait()
        answers = Counter(answer.result().status_code for answer in inside)
    assert answers == {200: CALLERS}
    wait_until(server.works)


def test_overload_is_refused_and_what_was_accepted_is_answered(servers: tuple[Command, Command]) -> None:
    """Four times as many callers as there are places."""
    server, _ = servers
    wait_until(server.works)
    places = RUNNING + QUEUED
    with ThreadPoolExecutor(4 * places) as pool:
        asked = [pool.submit(server.dance, num_steps=STEPS, seed=i) for i in range(4 * places)]
        answers = [answer.result() for answer in asked]
    counts = Counter(answer.status_code for answer in answers)
    assert counts.keys() == {200, 429}
    assert counts[200] >= places
    refused = [answer for answer in answers if answer.status_code == 429]
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    accepted = [answer.elapsed.total_seconds() for answer in answers if answer.status_code == 200]
    assert statistics.median(answer.elapsed.total_seconds() for answer in refused) < min(accepted)


def test_callers_at_four_times_the_rate_are_refused_or_answered_in_time(servers: tuple[Command, Command]) -> None:
    server, _ = servers
    wait_until(server.works)
    command = [sys.executable, "-m", "serving.cli.main", "bench", "overload", "--quick", "--json", "--url", server.url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    values = {row["metric"]: row["value"] for row in json.loads(done.stdout)["rows"] if row["unit"] == "callers"}
    assert values.keys() == {"200", "429", "answered within their timeout"}
    assert values["429"] > values["200"] == values["answered within their timeout"]


def test_servers_on_one_machine_do_not_know_each_other(servers: tuple[Command, Command]) -> None:
    first, second = servers
    wait_until(second.works)
    pids = {name: second.part(name).pid for name in ("tritonserver", "raylet", "ServeReplica:choreo:Ingress")}
    first.part("ServeReplica:choreo:Ingress").kill()
    assert second.dance().status_code == 200
    wait_until(first.works)
    assert {name: second.part(name).pid for name in pids} == pids
    assert first.said == [line for line in first.said if "Traceback" not in line]
