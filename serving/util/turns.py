"""Turns to work, shared out among owners: one with many calls does not hold up one with few."""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager


class Turns:
    """A bounded number of turns, given to owners by round robin.

    A free turn goes to the waiting owner that has the fewest, and of equals to the one that is first in line. An owner
    joins the line at its end when it comes and whenever it gets a turn, so that all of them go on.

    Args:
        number: turns at a time.
    """

    def __init__(self, number: int) -> None:
        self._free = number
        self._held: Counter[Hashable] = Counter()
        self._waiting: dict[asyncio.Future[None], Hashable] = {}
        self._line: dict[Hashable, int] = {}
        self._places = itertools.count()

    @asynccontextmanager
    async def turn(self, owner: Hashable) -> AsyncIterator[None]:
        """A turn of an owner, until the block ends."""
        await self._take(owner)
        try:
            yield
        finally:
            self._give_back(owner)

    async def _take(self, owner: Hashable) -> None:
        if self._free:  # then nobody waits
            self._grant(owner)
            return
        granted = asyncio.get_running_loop().create_future()
        self._waiting[granted] = owner
        self._line.setdefault(owner, next(self._places))
        try:
            await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled():  # the turn came in the same moment
                self._give_back(owner)
            raise
        finally:
            self._waiting.pop(granted, None)
            self._forget(owner)

    def _grant(self, owner: Hashable) -> None:
        self._free -= 1
        self._held[owner] += 1
        self._line[owner] = next(self._places)

    def _give_back(self, owner: Hashable) -> None:
        self._free += 1
        self._held[owner] -= 1
        waiting = {granted: of for granted, of in self._waiting.items() if not granted.done()}
        if waiting:
            granted = min(waiting, key=lambda each: (self._held[waiting[each]], self._line[waiting[each]]))
            self._grant(waiting[granted])
            granted.set_result(None)
        self._forget(owner)

    def _forget(self, owner: Hashable) -> None:
        """Drop what is known of an owner that has no turn and waits for none."""
        if self._held[owner] <= 0 and owner not in self._waiting.values():
            self._line.pop(owner, None)
            self._held.pop(owner, None)
