"""Forgets jobs that ended long ago, or whose files take too much room, and what crashes left in the spool."""

import logging
import time
from typing import Final

from choreo.errors import NotSaved
from serving.jobs.spool import Spool
from serving.jobs.store import JobStore

log = logging.getLogger(__name__)

AT_ONCE: Final = 50
ORPHAN_S: Final = 3600.0
"""Files of no job that are older are nobody's: a submission keeps its songs before its rows."""


class Retention:
    """Limits how long, and how much, is kept; every method blocks.

    Args:
        store, spool: what is kept.
        seconds: after its end that a job is kept.
        max_bytes: of songs and results of all jobs.
    """

    def __init__(self, store: JobStore, spool: Spool, seconds: float, max_bytes: int) -> None:
        self._store, self._spool, self._seconds, self._max_bytes = store, spool, seconds, max_bytes

    def sweep(self) -> None:
        """Forget what is too old, and the oldest of what is too much.

        Raises:
            StoreUnavailable: database or spool cannot be used.
        """
        while old := self._store.ended_before(time.time() - self._seconds, AT_ONCE):
            self._forget(old)
        self._shrink_to(self._max_bytes)
        self._remove_orphans()

    def make_room(self, size: int) -> None:
        """Forget as many ended jobs as it takes for so many bytes more.

        Raises:
            NotSaved: jobs that have not ended leave no room.
            StoreUnavailable: database or spool cannot be used.
        """
        if not self._shrink_to(self._max_bytes - size):
            raise NotSaved(f"{size} bytes more do not fit into the {self._max_bytes} bytes that jobs may have")

    def forget(self, job_id: str) -> bool:
        """Forget one job that has ended, with its files; whether it was there.

        Raises:
            StoreUnavailable: database or spool cannot be used.
        """
        if not self._store.forget(job_id):
            return False
        self._spool.forget(job_id)
        return True

    def _shrink_to(self, size: int) -> bool:
        while self._store.bytes() > size:
            oldest = self._store.ended_before(time.time() + 1, 1)
            if not oldest:
                return False
            self._forget(oldest)
        return True

    def _forget(self, ids: list[str]) -> None:
        for job_id in ids:
            self.forget(job_id)  # another server may have done so just now
        log.info("jobs forgotten: %s", ", ".join(ids))

    def _remove_orphans(self) -> None:
        until = f"job-{int(1000 * (time.time() - ORPHAN_S)):012x}"
        old = [job_id for job_id in self._spool.jobs() if job_id < until]
        for job_id in set(old) - self._store.exist(old):
            self._spool.forget(job_id)
