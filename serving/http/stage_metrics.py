"""What the stages tell of themselves: their caches, and how often their replicas and Triton were started again."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Iterator
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from serving.pipeline.contracts import Stages
from serving.pipeline.figures import StageFigures, figures_of

log = logging.getLogger(__name__)

LOOK_S: Final = 1.0
"""Time between looks, however often somebody asks."""
PATIENCE_S: Final = 1.0
"""How long a stage is waited for, which may be starting again or have as many requests as it takes."""
TRITON: Final = "triton"
PARTS: Final = ("encoder", "retriever", "sampler", "finisher")
CACHES: Final = {
    "song": "Songs that an encoder found encoded, and those that it encoded.",
    "context": "Rows of conditioners that a sampler found made, and those that it made.",
}


class _Part:
    """One stage: what its replicas told, each of which counts from its own start."""

    def __init__(self) -> None:
        self.replicas: dict[str, StageFigures] = {}
        self.found: Counter[tuple[str, str]] = Counter()
        self.bytes: dict[str, int] = {}

    def heard(self, figures: StageFigures) -> None:
        before = self.replicas.get(figures.replica)
        self.replicas[figures.replica] = figures
        for name, cache in figures.caches.items():
            old = None if before is None else before.caches.get(name)
            self.found[name, "hit"] += cache.hits - (old.hits if old else 0)
            self.found[name, "miss"] += cache.misses - (old.misses if old else 0)
            self.bytes[name] = cache.bytes


class StageWatch(Collector):
    """Asks the stages when metrics are asked for; a stage that does not answer in time stays as it was.

    Args:
        stages: of the server.
    """

    def __init__(self, stages: Stages) -> None:
        self._stages = stages
        self._parts = {name: _Part() for name in PARTS}
        self._triton = 0
        self._looked_at = -LOOK_S
        self._looking = asyncio.Lock()

    async def look(self) -> None:
        """Ask all stages, unless that was done just now."""
        async with self._looking:
            if time.monotonic() - self._looked_at >= LOOK_S:
                await asyncio.gather(*map(self._ask, PARTS))
                self._looked_at = time.monotonic()

    async def _ask(self, name: str) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                figures = await figures_of(getattr(self._stages, name))
        except Exception as error:  # whatever it is, the other series are still worth having
            log.debug("the %s tells nothing of itself: %r", name, error)
            return
        self._parts[name].heard(figures)
        self._triton = max(self._triton, figures.triton_restarts)

    def collect(self) -> Iterator[Metric]:
        """The series, as of the last look."""
        restarts = CounterMetricFamily("choreo_restarts", "Parts that were started again.", labels=("part",))
        restarts.add_metric((TRITON,), self._triton)
        for name, part in self._parts.items():
            restarts.add_metric((name,), max(len(part.replicas) - 1, 0))
        yield restarts
        for cache, text in CACHES.items():
            looked_up = CounterMetricFamily(f"choreo_{cache}_cache", text, labels=("result",))
            for result in ("hit", "miss"):
                looked_up.add_metric((result,), sum(part.found[cache, result] for part in self._parts.values()))
            yield looked_up
            held = sum(part.bytes.get(cache, 0) for part in self._parts.values())
            yield GaugeMetricFamily(f"choreo_{cache}_cache_bytes", "Memory of that cache.", held)
