"""`choreo bench NAME`: names from the package, arguments and exit codes passed through."""

import subprocess
import sys
from pathlib import Path

import pytest

from choreo.errors import InvalidInput
from serving.cli import bench

CHOREO = [sys.executable, "-m", "serving.cli.main", "bench"]


def run(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*CHOREO, *args], capture_output=True, text=True, timeout=120, check=False)


def test_the_names_are_those_of_modules_that_can_be_run() -> None:
    names = bench.benchmarks()
    assert "retrieval" in names
    assert not {"report", "synthetic_phrases", "retrieval_contender", "__init__"} & set(names)


@pytest.mark.parametrize("name", bench.benchmarks())
def test_a_module_that_can_be_run_does_something_when_it_is(name: str) -> None:
    """One without its last two lines would print nothing and exit with 0."""
    assert '\nif __name__ == "__main__":\n' in Path(f"bench/{name}.py").read_text(encoding="utf-8")


def test_an_unknown_name_exits_with_2_and_says_what_there_is() -> None:
    done = run("nothing", "--json")
    assert (done.returncode, done.stdout) == (2, "")
    assert "retrieval" in done.stderr
    with pytest.raises(InvalidInput, match="retrieval"):
        bench.run_benchmark("../report", [])


def test_arguments_and_exit_code_pass_through() -> None:
    done = run("retrieval", "--sizes", "none", "--json")
    assert (done.returncode, done.stdout) == (2, "")
    assert "sizes" in done.stderr


def test_a_signal_is_an_exit_code_as_in_a_shell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "dying").mkdir()
    (tmp_path / "dying" / "__init__.py").touch()
    (tmp_path / "dying" / "young.py").write_text(
        "import os, signal\n\n\ndef main(argv=None):\n    pass\n\n\nos.kill(os.getpid(), signal.SIGKILL)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(bench, "PACKAGE", "dying")
    assert bench.run_benchmark("young", []) == 137
