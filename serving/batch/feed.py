"""Hands rows to workers and takes their outcomes: so many at a time, whatever the catalog's length."""

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from serving.batch.catalog import CatalogRow
from serving.batch.items import names_files
from serving.batch.outcome import Outcome, RunStopped, worker_died

CHUNK: Final = 8
"""Prompts that are sent to a worker together, which costs little more than sending one. Songs travel alone, because
their lengths differ and a chunk is answered as a whole."""
POLL_S: Final = 0.5
DEATHS_TOGETHER: Final = 2
"""Workers' deaths that an item may have been in among others; after them it is tried alone."""
DEATHS: Final = 4
"""Deaths after which an item has failed."""
DEATHS_IN_A_ROW: Final = 12
"""Without an outcome in between: then it is not the items."""


@dataclass(frozen=True)
class Done:
    """A chunk that has come back; `outcomes` is None where its worker died."""

    rows: Sequence[CatalogRow]
    outcomes: Sequence[Outcome] | None


class Workers(Protocol):
    """Who dances."""

    @property
    def count(self) -> int:
        """How many there are."""
        ...

    def submit(self, rows: Sequence[CatalogRow]) -> None:
        """Begin a chunk on the worker that has the least to do."""
        ...

    def wait(self, seconds: float) -> list[Done]:
        """Chunks that have come back, at the latest after the time.

        Raises:
            RunStopped: a worker found something broken that all items need.
        """
        ...


class Feed:
    """One pass over rows.

    Args:
        workers: who dances.
        rows: what is to be danced.
        at_a_time: items that a worker has under way.
        take: given every outcome, once.
    """

    def __init__(
        self, workers: Workers, rows: Iterator[CatalogRow], at_a_time: int, take: Callable[[Outcome], None]
    ) -> None:
        self._workers, self._rows, self._take = workers, rows, take
        self._limit = at_a_time * workers.count
        self._under_way = 0
        self._again: deque[CatalogRow] = deque()
        self._alone: deque[CatalogRow] = deque()
        self._deaths: Counter[int] = Counter()
        self._in_a_row = 0

    def run(self, tick: Callable[[], None] = lambda: None) -> None:
        """Dance all rows.

        Args:
            tick: called whenever something came back, and otherwise about twice a second.

        Raises:
            RunStopped: the workers cannot go on.
        """
        while self._fill():
            done = self._workers.wait(POLL_S)
            for chunk in done:
                self._under_way -= len(chunk.rows)
                for outcome in chunk.outcomes or ():
                    self._in_a_row = 0
                    self._take(outcome)
            died = [chunk for chunk in done if chunk.outcomes is None]
            if died:
                self._mourn([row for chunk in died for row in chunk.rows])
            tick()

    def _fill(self) -> bool:
        """Give the workers what they have room for; whether anything is under way."""
        if self._alone:  # whose deaths it is, is found out one by one
            if not self._under_way:
                self._submit([self._alone.popleft()])
            return True
        while self._under_way < self._limit and (chunk := self._next()):
            self._submit(chunk)
        return self._under_way > 0

    def _next(self) -> list[CatalogRow]:
        if self._again:
            return [self._again.popleft()]
        chunk: list[CatalogRow] = []
        for row in self._rows:
            chunk.append(row)
            if len(chunk) == CHUNK or names_files(row):
                break
        return chunk

    def _submit(self, rows: Sequence[CatalogRow]) -> None:
        self._under_way += len(rows)
        self._workers.submit(rows)

    def _mourn(self, rows: Sequence[CatalogRow]) -> None:
        """Try again what a dead worker had."""
        self._in_a_row += 1
        if self._in_a_row > DEATHS_IN_A_ROW:
            raise RunStopped("workers die one after the other; the log of the system may say why")
        for row in rows:
            self._deaths[row.index] += 1
            if self._deaths[row.index] >= DEATHS:
                self._take(worker_died(row))
            elif self._deaths[row.index] >= DEATHS_TOGETHER:
                self._alone.append(row)
            else:
                self._again.append(row)
