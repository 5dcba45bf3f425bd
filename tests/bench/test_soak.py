"""The soak: what its watch makes of samples, and two short minutes of everything."""

import json
import os
import subprocess
import sys

import numpy as np
import psutil
import pytest

from bench.soak_watch import ALL, Sample, Watch, growth, part_name, rows
from choreo.errors import InvalidInput


def test_growth_is_per_hour_and_begins_when_everything_is_warm() -> None:
    times = np.arange(0.0, 3600, 30)
    warming = np.where(times < 600, times, 600.0)
    assert growth(times, warming) == 0
    assert growth(times, warming + times / 360) == pytest.approx(10)
    jump = warming + np.where(np.arange(len(times)) % 40 == 0, 500.0, 0.0)
    assert growth(times, jump) == 0
    assert growth(times[:2], warming[:2]) is None


def test_parts_that_come_and_go_have_no_growth() -> None:
    samples = [
        Sample(float(i), {("stays", "memory"): 5.0} | ({("goes", "files"): 1.0} if i < 3 else {})) for i in range(9)
    ]
    assert [(row.case, row.metric, row.value) for row in rows(samples)] == [
        ("stays", "memory, beginning", 5.0),
        ("stays", "memory, end", 5.0),
        ("stays", "memory, growth", 0.0),
    ]


def test_a_process_and_its_children_are_seen() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        sample = Watch(os.getpid(), 1.0).sample()
        assert sample.of[ALL, "threads"] > psutil.Process().num_threads()
        assert sample.of[ALL, "memory"] > 0
        assert part_name(psutil.Process(child.pid)) == "other processes of Ray"
        child.communicate(b"\n")
    with pytest.raises(InvalidInput, match="pid"):
        Watch(child.pid, 1.0)


@pytest.mark.e2e
def test_two_minutes_of_mixed_callers_leave_a_server_as_it_was() -> None:
    command = [sys.executable, "-m", "serving.cli.main", "bench", "soak", "--quick", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    answers = {(row["case"], row["metric"]): row["value"] for row in rows if row["unit"] == "callers"}
    assert answers["good", "200"] > 10
    assert {kind for kind, _ in answers} == {"good", "broken", "leaving"}
    assert [key for key in answers if key[1].startswith("5") or key[1] == "no answer"] == []
    values = {(row["case"], row["metric"]): row["value"] for row in rows}
    for key in ("files", "threads", "shared memory"):
        assert values[ALL, f"{key}, end"] < 1.2 * values[ALL, f"{key}, beginning"] + 40
