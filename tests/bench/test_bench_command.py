"""`choreo bench NAME`: names from the packages, arguments and exit codes passed through, rows of interrupted runs."""

import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import pytest

from bench.command import ROUNDS, Main, benchmark, quick
from bench.report import Row
from choreo.errors import ChoreoError, InvalidInput
from serving.cli import bench

CHOREO = [sys.executable, "-m", "serving.cli.main", "bench"]


def run(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*CHOREO, *args], capture_output=True, text=True, timeout=120, check=False)


def test_the_names_are_those_of_modules_that_can_be_run() -> None:
    names = bench.benchmarks()
    assert names["retrieval"] == "bench.retrieval"
    assert names["ablations"] == "research.ablations"
    assert not {"report", "command", "synthetic_phrases", "retrieval_contender", "held_out", "__init__"} & set(names)


def test_only_a_checkout_has_studies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for package in (bench.PACKAGE, bench.STUDIES):
        (tmp_path / package).mkdir()
        (tmp_path / package / f"{package}_case.py").write_text("def main(argv=None):\n    pass\n")
    monkeypatch.setattr(bench, "_root", lambda: tmp_path)
    assert bench.benchmarks() == {"bench_case": "bench.bench_case"}
    (tmp_path / "pyproject.toml").touch()
    assert bench.benchmarks()["research_case"] == "research.research_case"


@pytest.mark.parametrize("module", bench.benchmarks().values())
def test_a_module_that_can_be_run_does_something_when_it_is(module: str) -> None:
    """One without its last two lines would print nothing and exit with 0."""
    path = Path(module.replace(".", "/")).with_suffix(".py")
    assert '\nif __name__ == "__main__":\n' in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("module", bench.benchmarks().values())
def test_every_benchmark_has_help_and_refuses_unknown_options(module: str, capsys: pytest.CaptureFixture[str]) -> None:
    main = importlib.import_module(module).main
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    assert f"choreo bench {module.rpartition('.')[2]}" in capsys.readouterr().out
    assert main(["--no-such-option"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "--no-such-option" in captured.err


def test_an_unknown_name_exits_with_2_and_says_what_there_is() -> None:
    done = run("nothing", "--json")
    assert (done.returncode, done.stdout) == (2, "")
    assert "retrieval" in done.stderr
    with pytest.raises(InvalidInput, match="retrieval"):
        bench.run_benchmark("../report", [])


def test_arguments_help_and_exit_code_pass_through() -> None:
    done = run("retrieval", "--sizes", "none", "--json")
    assert (done.returncode, done.stdout) == (2, "")
    assert "sizes" in done.stderr
    done = run("retrieval", "--help")
    assert done.returncode == 0
    assert "--sizes" in done.stdout


def test_a_signal_is_an_exit_code_as_in_a_shell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "dying").mkdir()
    (tmp_path / "dying" / "__init__.py").touch()
    (tmp_path / "dying" / "young.py").write_text(
        "import os, signal\n\n\ndef main(argv=None):\n    pass\n\n\nos.kill(os.getpid(), signal.SIGKILL)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(bench, "PACKAGE", "dying")
    assert bench.run_benchmark("young", []) == 137


def failing(error: BaseException | None, rows: int = 2) -> Main:
    @benchmark
    def main(rounds: Annotated[int, ROUNDS] = 3, quick: Annotated[bool, quick("one round")] = False) -> Iterator[Row]:
        yield from (Row("case", f"metric {i}", rounds + quick, "s") for i in range(rows))
        if error is not None:
            raise error

    return main


def printed(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return json.loads(capsys.readouterr().out)["rows"]  # type: ignore[no-any-return]


def test_a_benchmark_prints_its_rows_and_how_to_repeat_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert failing(None)(["--json", "--rounds", "5", "--quick"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["command"] == "choreo bench test_bench_command --json --rounds 5 --quick"
    assert document["rows"][1] == {"case": "case", "metric": "metric 1", "value": 6, "unit": "s"}
    assert failing(None, rows=0)(["--json"]) == 0
    assert printed(capsys) == []


@pytest.mark.parametrize(("error", "code"), [(ChoreoError("no server"), 1), (KeyboardInterrupt(), 130)])
def test_a_run_that_breaks_off_prints_what_it_had(
    error: BaseException, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert failing(error)(["--json"]) == code
    assert len(printed(capsys)) == 2
    assert failing(error, rows=0)(["--json"]) == code
    assert capsys.readouterr().out == ""


def test_a_terminated_run_prints_what_it_had(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="143"):
        failing(SystemExit(143))(["--json"])
    assert len(printed(capsys)) == 2


@pytest.mark.parametrize("argv", [["--rounds", "0"], ["--rounds", "many"], ["--no-such-option"], ["argument"]])
def test_bad_input_prints_no_rows(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert failing(None)(argv) == 2
    assert failing(InvalidInput("student", "is another model"))([]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.endswith("choreo: student: is another model\n")
