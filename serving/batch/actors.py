"""Workers as Ray actors: one event loop each, on this machine or on the nodes of a cluster."""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from choreo.errors import BackendUnavailable, ChoreoError
from serving.batch.catalog import CatalogRow
from serving.batch.config import WorkerConfig
from serving.batch.feed import Done
from serving.batch.outcome import Outcome, RunStopped
from serving.ray.session import HEAD, RaySession

if TYPE_CHECKING:
    from serving.batch.worker import Worker

START_S: Final = 600.0
"""Longest time until every worker is ready; exporting a generator may be part of it."""
CALLS: Final = 4096
"""Calls of an actor at a time; the feed sends fewer."""
CPUS: Final = 1


class DanceActor:
    """A `Worker` in a process of Ray's. It loads everything at its first call, and again after it was restarted."""

    def __init__(self, config: WorkerConfig) -> None:
        self._config = config
        self._worker: Worker | None = None
        self._loading = asyncio.Lock()

    async def load(self) -> ChoreoError | OSError | None:
        """Load everything; what stands in the way."""
        from serving.batch.worker import Worker  # torch and the engine are loaded by the actors alone

        async with self._loading:
            if self._worker is None:
                try:
                    self._worker = await Worker(self._config).__aenter__()
                except (ChoreoError, OSError) as error:
                    return error
        return None

    async def run(self, rows: Sequence[CatalogRow]) -> list[Outcome] | ChoreoError | OSError:
        """Outcomes of a chunk, or why the run cannot go on."""
        error = await self.load()
        if error is not None or self._worker is None:
            return error or BackendUnavailable("the worker is being stopped")
        try:
            return await self._worker.run(rows)
        except ChoreoError as stopped:
            return stopped

    async def close(self) -> None:
        """End the processes and threads of the stages."""
        async with self._loading:
            worker, self._worker = self._worker, None
            if worker is not None:
                await worker.__aexit__(None, None, None)


class RayWorkers:
    """Context manager: actors within a running session, spread over its nodes.

    Args:
        session: Ray.
        config: of every worker.
        count: workers; 0: one on every node.
    """

    def __init__(self, session: RaySession, config: WorkerConfig, count: int = 0) -> None:
        self._session, self._config, self._count = session, config, count
        self._actors: list[Any] = []
        self._loads: list[int] = []
        self._under_way: dict[Any, tuple[int, Sequence[CatalogRow]]] = {}

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._actors)

    def __enter__(self) -> Self:
        """Start all, and wait until they are ready.

        Raises:
            ChoreoError: what a worker could not load.
            BackendUnavailable: not all could be started in time.
        """
        import ray

        actor = ray.remote(DanceActor).options(
            num_cpus=CPUS,
            max_restarts=-1,
            max_task_retries=0,
            max_concurrency=CALLS,
            scheduling_strategy="SPREAD",
        )
        nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) >= CPUS]
        self._actors = [actor.remote(self._config) for _ in range(self._count or max(len(nodes), 1))]
        self._loads = [0] * len(self._actors)
        try:
            self._await_ready()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def submit(self, rows: Sequence[CatalogRow]) -> None:
        """Begin a chunk on the worker that has the least to do."""
        chosen = self._loads.index(min(self._loads))
        self._loads[chosen] += len(rows)
        self._under_way[self._actors[chosen].run.remote(list(rows))] = chosen, rows

    def wait(self, seconds: float) -> list[Done]:
        """Chunks that have come back; see `Workers.wait`."""
        import ray

        if self._session.has_lost(HEAD):
            raise RunStopped("Ray has died")
        refs = list(self._under_way)
        ready, _ = ray.wait(refs, num_returns=1, timeout=seconds)
        if ready:
            ready, _ = ray.wait(refs, num_returns=len(refs), timeout=0)
        done = []
        for ref in ready:
            chosen, rows = self._under_way.pop(ref)
            self._loads[chosen] -= len(rows)
            done.append(Done(rows, _outcomes(ref)))
        return done

    def _await_ready(self) -> None:
        import ray

        until = time.monotonic() + START_S
        for ref in [actor.load.remote() for actor in self._actors]:
            try:
                error = ray.get(ref, timeout=max(until - time.monotonic(), 0))
            except ray.exceptions.GetTimeoutError as late:
                raise BackendUnavailable(f"not all workers were ready after {START_S:.0f} s") from late
            except ray.exceptions.RayError as broken:
                raise BackendUnavailable(f"a worker could not be started: {_last_line(broken)}") from broken
            if error is not None:
                raise error

    def _stop(self) -> None:
        """End the actors; those of a session of our own end with it as well."""
        import ray

        with contextlib.suppress(Exception):
            refs = [actor.close.remote() for actor in self._actors]
            ray.wait(refs, num_returns=len(refs), timeout=5)
        for actor in self._actors:
            with contextlib.suppress(Exception):
                ray.kill(actor)


def _outcomes(ref: Any) -> Sequence[Outcome] | None:
    """What a chunk came to; None where its worker died."""
    import ray

    try:
        answer = ray.get(ref)
    except ray.exceptions.RayTaskError as error:
        raise RunStopped(f"a worker failed: {_last_line(error)}") from error
    except ray.exceptions.RayError:
        return None
    if isinstance(answer, Exception):
        raise answer if isinstance(answer, RunStopped) else RunStopped(str(answer)) from answer
    outcomes: Sequence[Outcome] = answer
    return outcomes


def _last_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[-1][:200]
