"""Command lines as Typer functions that are parsed in this process, with typed errors as one line and an exit code."""

import signal
import sys
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import typer

from choreo.errors import ChoreoError, InvalidInput

FAILED: Final = 1
BAD_INPUT: Final = 2

T = TypeVar("T")
Number = TypeVar("Number", int, float)


def parse(command: Callable[..., T], argv: Sequence[str], prog: str, summary: str, epilog: str | None = None) -> T:
    """Call a Typer function with the values of a command line and return what it returns.

    Args:
        command: function whose annotations define the arguments and options; must not return an int.
        prog: name of the command in the help text.
        summary: what it does, for the help text.

    Raises:
        InvalidInput: a value, an option or an argument that the function does not accept.
        SystemExit: the help text was asked for and has been printed.
    """
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command(help=summary, epilog=epilog)(command)
    try:
        result = app(list(argv), prog_name=prog, standalone_mode=False)
    except typer.BadParameter as error:
        field = prog if error.param is None else error.param.opts[0].lstrip("-")
        raise InvalidInput(field, error.message or error.format_message()) from error
    except typer.TyperException as error:
        raise InvalidInput(prog, error.format_message()) from error
    if isinstance(result, int):
        raise SystemExit(result)
    value: T = result
    return value


def exit_code(work: Callable[[], int | None]) -> int:
    """Do the work of a command; a typed error becomes one line on standard error.

    Returns:
        What the work returns (None: 0), 2 on bad input, 1 on any other error, 130 after Ctrl-C.
    """
    try:
        return work() or 0
    except InvalidInput as error:
        say(f"choreo: {error}")
        return BAD_INPUT
    except (ChoreoError, OSError) as error:
        say(f"choreo: {error}")
        return FAILED
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def numbers(field: str, text: str, low: Number, high: Number) -> list[Number]:
    """Different numbers between commas, in the order given; integers where the bounds are integers.

    Raises:
        InvalidInput: something is not such a number, or not between the bounds.
    """
    kind = type(low)
    try:
        found = list(dict.fromkeys(kind(part) for part in text.split(",")))
    except ValueError as error:
        what = "whole numbers" if kind is int else "numbers"
        raise InvalidInput(field, f"must be {what} between commas, got {text[:64]!r}") from error
    if not all(low <= number <= high for number in found):
        raise InvalidInput(field, f"must be between {low:g} and {high:g} each, got {text[:64]!r}")
    return found


def say(line: str) -> None:
    """Print progress or an error to standard error."""
    print(line, file=sys.stderr, flush=True)
