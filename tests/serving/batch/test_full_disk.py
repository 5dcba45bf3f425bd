"""A run on a real file system that is full, whatever is to be written: it stops, and goes on when there is room."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fake_workers import FakeWorkers, Place, prompts
from http_thread import served

from serving.http.ingress import create_app
from serving.settings import Settings

PROGRAM = Path(__file__).parents[2] / "small_disk.py"
NAMESPACE = ["unshare", "--user", "--map-root-user", "--mount"]
ITEMS = 8


def namespaces() -> bool:
    """Whether a process may mount something that only it sees."""
    try:
        probe = [*NAMESPACE, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
        return subprocess.run(probe, capture_output=True, timeout=30, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


@pytest.mark.skipif(not namespaces(), reason="no user namespace in which a small file system could be mounted")
def test_a_full_disk_stops_the_run_wherever_it_is_and_room_lets_it_go_on(tmp_path: Path, stages: Any) -> None:
    place, disk = Place(tmp_path, FakeWorkers()), tmp_path / "disk"
    disk.mkdir()
    catalog = place.catalog(*prompts(ITEMS, duration=0.4))
    with served(create_app(Settings(), stages.stages())) as url:
        command = [*NAMESPACE, sys.executable, "-P", str(PROGRAM), str(disk), str(catalog), url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    rounds = [json.loads(line) for line in done.stdout.splitlines()]
    journals = [found.pop("journal") for found in rounds if "journal" in found]
    for found in journals:
        assert found["kept"] == list(range(len(found["kept"]))), found
        assert found["durable"] <= len(found["kept"]), found
        assert found["whole"], found
        if found["said"]:
            assert f"No space left on device: '{disk}/journal/journal.jsonl'" in found["said"]
    assert [bool(found["said"]) for found in journals[:1] + journals[-1:]] == [True, False]
    rounds = rounds[len(journals) :]
    for found in rounds:
        assert (found["torn"], found["wrong"]) == ([], []), found
        assert (found["again"], found["same"]) == (0, True), found
        if found["code"]:
            assert found["code"] == 1, found
            assert f"No space left on device: '{disk}/" in found["said"], found
        else:
            assert found["tried"] == 0
    assert [found["code"] for found in rounds[:1] + rounds[-1:]] == [1, 0]
    assert any(0 < found["kept"] < 2 * ITEMS and found["tried"] < ITEMS for found in rounds)
