"""What a person sees while a catalog is danced: how far, how fast, how long still, and how many failed."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text


class Watcher(Protocol):
    """Told what happens."""

    def stage(self, name: str) -> None:
        """Something begins that is not dancing."""
        ...

    def begin(self, total: int, done: int, failed: int) -> None:
        """Items of the catalog that are to be danced in all, and those that are done already."""
        ...

    def item(self, succeeded: bool) -> None:
        """One more is done."""
        ...


class Silent:
    """A watcher that shows nothing."""

    def stage(self, name: str) -> None:
        """Nothing."""

    def begin(self, total: int, done: int, failed: int) -> None:
        """Nothing."""

    def item(self, succeeded: bool) -> None:
        """Nothing."""


class Bar:
    """A watcher that draws a bar on a terminal; see `shown`."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task: TaskID = progress.add_task("reading the catalog", total=None, failed=0)
        self._failed = 0

    def stage(self, name: str) -> None:
        """Something begins that is not dancing."""
        self._progress.update(self._task, description=name)

    def begin(self, total: int, done: int, failed: int) -> None:
        """Items in all, and those that are done already."""
        self._failed = failed
        self._progress.reset(self._task, description="dancing", total=total, completed=done, failed=failed)

    def item(self, succeeded: bool) -> None:
        """One more is done."""
        self._failed += not succeeded
        self._progress.update(self._task, advance=1, failed=self._failed)


@contextmanager
def shown(console: Console) -> Iterator[Bar]:
    """A bar on a console, for as long as the block lasts."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[failed]} failed"),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        yield Bar(progress)


class _Rate(ProgressColumn):
    """Items per second, or per minute where they take long."""

    def render(self, task: Task) -> Text:
        """The text of a task."""
        speed = task.speed or 0.0
        return Text(f"{speed:.1f}/s" if speed >= 1 else f"{60 * speed:.1f}/min")
