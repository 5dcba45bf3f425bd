"""The command `choreo doctor`; `serving.cli.doctor` does its work."""

import json

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from serving.cli.output import Json
from serving.settings import Settings


def doctor(as_json: Json = False) -> None:
    """Say what is installed, which profile would run, what is missing and how to get it."""
    from serving.cli.doctor import examine

    checks = examine(Settings())
    if as_json:
        print(json.dumps([check.document() for check in checks]))
    else:
        table = Table("", "part", Column("state", overflow="fold"), Column("what to do", overflow="fold"))
        for check in checks:
            mark = "[green]ok[/]" if check.ok else "[red]missing[/]" if check.required else "[yellow]optional[/]"
            table.add_row(mark, *map(escape, (check.part, check.state, check.advice)))
        Console().print(table)
    if not all(check.ok for check in checks if check.required):
        raise typer.Exit(1)
