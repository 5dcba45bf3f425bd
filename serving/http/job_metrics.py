"""Jobs as metrics: how many there are, what of them waits and for how long, and how webhooks are delivered."""

import asyncio
import logging
import time
from collections.abc import Iterator
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from serving.jobs.delivery import Outcome
from serving.jobs.records import JobFigures, JobState
from serving.jobs.service import Jobs

log = logging.getLogger(__name__)

LOOK_S: Final = 1.0
"""Time between looks into the database, however often somebody asks."""
PATIENCE_S: Final = 2.0


class JobWatch(Collector):
    """Reads the database when metrics are asked for; while it cannot be read, there are no series of it.

    Args:
        jobs: of the server.
    """

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self._figures: JobFigures | None = None
        self._looked_at = -LOOK_S
        self._looking = asyncio.Lock()

    async def look(self) -> None:
        """Read, unless that was done just now."""
        async with self._looking:
            if time.monotonic() - self._looked_at < LOOK_S:
                return
            try:
                async with asyncio.timeout(PATIENCE_S):
                    self._figures = await self._jobs.figures()
            except Exception as error:  # whatever it is, the other series are still worth having
                log.warning("the figures of jobs cannot be read: %r", error)
                self._figures = None
            self._looked_at = time.monotonic()

    def collect(self) -> Iterator[Metric]:
        """The series, as of the last look."""
        figures = self._figures
        jobs = GaugeMetricFamily("choreo_jobs", "Jobs that are kept.", labels=("state",))
        items = GaugeMetricFamily("choreo_job_items", "Requests of jobs that have not ended.", labels=("state",))
        oldest = GaugeMetricFamily("choreo_job_oldest_waiting_seconds", "Time since the oldest of them was submitted.")
        if figures is not None:
            for state in JobState:
                jobs.add_metric((state,), figures.jobs.get(state, 0))
            items.add_metric((JobState.QUEUED,), figures.waiting)
            items.add_metric((JobState.RUNNING,), figures.running)
            waits = 0.0 if figures.oldest_waiting is None else max(time.time() - figures.oldest_waiting, 0.0)
            oldest.add_metric((), waits)
        yield from (jobs, items, oldest)
        delivered = CounterMetricFamily("choreo_webhook_deliveries", "Deliveries of webhooks.", labels=("outcome",))
        for outcome in Outcome:
            delivered.add_metric((outcome,), self._jobs.deliveries[outcome])
        yield delivered
