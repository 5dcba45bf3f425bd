"""Typer functions parsed in this process: values, errors and exit codes."""

from typing import Annotated

import pytest
import typer

from choreo.command_line import exit_code, numbers, parse
from choreo.errors import InvalidInput, MissingDependency


def _command(
    url: Annotated[str, typer.Argument()],
    max_lag: Annotated[float, typer.Option(min=0.1, max=60)] = 1.0,
    quick: Annotated[bool, typer.Option("--quick")] = False,
) -> tuple[str, float, bool]:
    return url, max_lag, quick


def test_the_values_of_a_command_line_reach_the_function() -> None:
    assert parse(_command, ["x", "--max-lag", "2", "--quick"], "choreo x", "") == ("x", 2.0, True)
    assert parse(_command, ["x"], "choreo x", "") == ("x", 1.0, False)


@pytest.mark.parametrize(
    ("argv", "field"),
    [
        (["x", "--max-lag", "nan"], "max-lag"),
        (["x", "--max-lag", "0"], "max-lag"),
        (["x", "--max-lag", "much"], "max-lag"),
        ([], "url"),
        (["x", "--nothing"], "choreo x"),
    ],
)
def test_what_typer_refuses_is_invalid_input_that_names_the_option(argv: list[str], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse(_command, argv, "choreo x", "")
    assert refused.value.field == field
    assert refused.value.message


def test_help_is_printed_and_ends_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        parse(_command, ["--help"], "choreo x", "Does a thing.", "Exit codes.")
    out = capsys.readouterr().out
    assert "choreo x" in out
    assert "Does a thing." in out
    assert "Exit codes." in out


def test_errors_are_one_line_and_an_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    def raising(error: BaseException) -> int:
        def work() -> None:
            raise error

        return exit_code(work)

    assert raising(InvalidInput("rounds", "must be at least 1")) == 2
    assert raising(MissingDependency("no compiler")) == 1
    assert raising(OSError("disk full")) == 1
    assert raising(KeyboardInterrupt()) == 130
    assert capsys.readouterr().err == ("choreo: rounds: must be at least 1\nchoreo: no compiler\nchoreo: disk full\n")
    assert exit_code(lambda: 3) == 3
    assert exit_code(lambda: None) == 0


def test_numbers_are_different_typed_and_bounded() -> None:
    assert numbers("batches", "8,1,8", 1, 64) == [8, 1]
    assert numbers("open", "0.5,1", 0.0, 2.0) == [0.5, 1.0]
    for text in ("", "many", "1.5", "0", "65", "1,"):
        with pytest.raises(InvalidInput, match="batches"):
            numbers("batches", text, 1, 64)
    with pytest.raises(InvalidInput, match="open: must be between 0 and 2 each"):
        numbers("open", "nan", 0.0, 2.0)
