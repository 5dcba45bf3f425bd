"""`choreo loadtest` against the real HTTP server: exit codes, samples and reports."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from waiting import wait_until

from loadtest.__main__ import main
from loadtest.samples import Outcome, read_samples

CHOREO = [sys.executable, "-m", "serving.cli.main", "loadtest"]
OPEN = ["--rate", "25", "--seconds", "1", "--max-lag", "60"]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def start(*arguments: Any) -> subprocess.Popen[str]:
    command = [*CHOREO, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(url: str, out: Path, *arguments: str) -> int:
    """The command in this process."""
    return main([url, *OPEN, "--out", str(out), *arguments])


def document(out: Path) -> Any:
    return json.loads((out / "report.json").read_text())


def test_a_sweep_leaves_samples_figures_and_a_report(server: Any, out: Path) -> None:
    process = start(
        server.url, "--rates", "20,40", "--seconds", 1, "--warm-up", 0.2, "--slo", 60, "--p95", 60, "--max-lag", 60,
        "--seed", 3, "--out", out, "--json",
    )  # fmt: skip
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr
    printed = json.loads(stdout)
    assert printed == document(out) | {"files": [str(out / f"report.{kind}") for kind in ("json", "md", "html")]}
    assert printed["trustworthy"]
    for run_, rate in zip(printed["runs"], (20, 40), strict=True):
        samples = read_samples(out / f"samples-rate-{rate}.jsonl")
        assert run_["requests"] == sum(s.intended >= 0.2 for s in samples) == run_["outcomes"]["served"]
        assert run_["good_share"] == 1
        assert run_["latency"]["max"] == max(s.latency for s in samples if s.intended >= 0.2)
        assert {s.kind for s in samples} == {"prompt", "song"}
    assert len(server.bodies) == sum(1 for rate in (20, 40) for _ in (out / f"samples-rate-{rate}.jsonl").open())
    page, table = (out / "report.html").read_text(), (out / "report.md").read_text()
    assert page.count("<svg") == 4
    assert "http-equiv" not in page
    assert "src=" not in page
    for run_ in printed["runs"]:
        for text in (page, table):
            assert run_["label"] in text
            assert f"{run_['latency']['p95']:.3f}" in text


def test_what_the_server_does_is_told_apart_and_missed_thresholds_exit_with_1(
    server: Any, refusal: Any, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    replies = [
        None,
        refusal(429, "overloaded", Retry_After="1"),
        refusal(500, "internal"),
        (200, {"Content-Type": "application/json"}, b'{"motion": [1]}'),
        (200, {"Content-Type": "application/json"}, b"<html>"),
    ]
    server.behave = lambda number: replies[number % 5]
    assert run(server.url, out, "--p50", "60", "--error-rate", "0.1", "--shed-rate", "0.1") == 1
    found = document(out)["runs"][0]
    outcomes, total = found["outcomes"], found["requests"]
    assert sum(outcomes.values()) == total == len(server.bodies)
    assert outcomes["shed"] == sum(i % 5 == 1 for i in range(total))
    assert outcomes["failed"] == sum(i % 5 >= 2 for i in range(total))
    said = {name.partition(": ")[2] for name in found["errors"]}
    assert said == {"shed with 429", "status 500 internal", "wrong number of frames", "no json motion"}
    stderr = capsys.readouterr().err
    assert "25/s: error-rate" in stderr
    assert "25/s: shed-rate" in stderr
    assert "p50" not in stderr


def test_numbers_of_a_late_generator_have_an_exit_code_of_their_own(
    server: Any, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(server.url, out, "--max-lag", "0.0001", "--p50", "0") == 3
    assert not document(out)["trustworthy"]
    assert "not trustworthy" in capsys.readouterr().err
    assert "not trustworthy" in (out / "report.html").read_text()


def test_bad_input_and_nobody_there(server: Any, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([server.url, "--rate", "-1"]) == 2
    assert main([server.url, "--scenario", "nothing"]) == 2
    assert main(["http://127.0.0.1:1", "--rate", "1", "--out", str(out)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "choreo serve" in captured.err
    assert not out.exists()


def test_locust_users_ask_one_after_the_other_and_are_gone_at_the_end(server: Any, out: Path) -> None:
    server.delay_s = 0.05
    process = start(server.url, "--users", 3, "--spawn-rate", 100, "--seconds", 2, "--max-lag", 60, "--out", out)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr
    found = document(out)["runs"][0]
    samples = read_samples(out / "samples-users-3.jsonl")
    assert len(samples) == len(server.bodies) >= 3
    assert found["outcomes"]["served"] == sum(s.intended < 2 for s in samples)
    # Nobody has two requests at a time, and nobody waits between them.
    running = [sum(s.started <= t.started < s.ended for s in samples) for t in samples]
    assert 1 <= max(running) <= 3
    assert found["latency"]["p50"] >= 0.05
    assert "| 3 users |" in stdout
    assert "served" in stderr


@pytest.mark.parametrize("load", [["--rate", "20"], ["--users", "2"]])
def test_a_signal_ends_everything_and_the_report_is_of_what_there_is(server: Any, out: Path, load: list[str]) -> None:
    process = start(server.url, *load, "--seconds", 600, "--timeout", 60, "--max-lag", 60, "--out", out)
    wait_until(lambda: len(server.bodies) >= 4)
    with server.stall:
        seen = len(server.bodies)
        wait_until(lambda: len(server.bodies) > seen)
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        os.kill(process.pid, signal.SIGINT)
        _, stderr = process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGINT, stderr
    assert not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in family)
    report = document(out)
    assert report["interrupted"]
    samples = read_samples(next(out.glob("samples-*.jsonl")))
    assert sum(s.outcome is Outcome.SERVED for s in samples) == report["runs"][0]["outcomes"]["served"] > 0
    assert report["runs"][0]["outcomes"]["unfinished"] > 0
    assert "stopped by a signal" in (out / "report.html").read_text()
