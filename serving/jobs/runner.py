"""Works on the requests of jobs, while requests that somebody waits for leave room."""

import asyncio
import contextlib
import hashlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from choreo.errors import BackendUnavailable, ChoreoError, NotSaved
from serving.errors import Interrupted, Overloaded, StoreUnavailable
from serving.jobs.records import Item, ItemResult, Key
from serving.jobs.spool import FILES, INPUT, Spool
from serving.pipeline.admission import Admission
from serving.pipeline.request import Attachments, MotionRequest, Priority
from serving.pipeline.results import DeliveredFile
from serving.pipeline.runs import RunService
from serving.settings import Settings
from serving.util import logs, tracing
from serving.util.threads import Threads

if TYPE_CHECKING:
    from serving.jobs.leases import Leases

log = logging.getLogger(__name__)
T = TypeVar("T")

Prepare = Callable[[dict[str, Any], Attachments, str], tuple[MotionRequest, str | None]]
"""Fields, parts and an id to a validated request, and the address of its song if that is still to be fetched."""
Deliver = Callable[[MotionRequest], Awaitable[DeliveredFile]]
Made = Callable[[Item, MotionRequest, DeliveredFile], None]
ProblemOf = Callable[[Exception, str], Mapping[str, Any]]
"""The problem document of an error, under an id."""

LOOK_S: Final = 1.0
"""Time between looks for requests that other servers accepted, or that may be tried again."""
IMPATIENT_S: Final = 0.05
"""The same while requests wait and no turn is idle."""
MAX_DELAY_S: Final = 60.0
"""Longest time until a request is tried again."""
_INSIST_S: Final = (0.2, 1.0, 3.0, 5.0)


@dataclass(frozen=True)
class Work:
    """How one request is danced.

    Attributes:
        prepare: blocking, as validation is.
        deliver: the pipeline.
        problem: what a failed request leaves.
        made: told of every motion.
    """

    prepare: Prepare
    deliver: Deliver
    problem: ProblemOf
    made: Made


class Runner:
    """Takes requests of jobs under leases, several at a time, and ends them.

    Args:
        leases, spool: where requests and files are.
        admission: whose idle turns are used.
        runs: what requests run under.
        work: how they are danced.
        settings: limits.
        threads: for what blocks.
    """

    def __init__(
        self,
        leases: "Leases",
        spool: Spool,
        admission: Admission,
        runs: RunService,
        work: Work,
        settings: Settings,
        threads: Threads,
    ) -> None:
        self._leases, self._spool, self._admission, self._runs = leases, spool, admission, runs
        self._work, self._settings, self._threads = work, settings, threads
        self._tasks: dict[Key, asyncio.Task[None]] = {}
        self._wake = asyncio.Event()
        self._closing = False
        self._more = True
        self._loops: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to take requests, in the running event loop."""
        self._loops = [asyncio.create_task(self._take()), asyncio.create_task(self._tend())]

    def wake(self) -> None:
        """Look for requests now."""
        self._more = True
        self._wake.set()

    def drop(self, job_id: str) -> None:
        """Stop what is under way of a job that was cancelled."""
        for (of, _), task in self._tasks.items():
            if of == job_id:
                task.cancel()

    async def drain(self, seconds: float) -> None:
        """Take no more; end what is under way within the time, and put back what is left then."""
        self._closing = True
        self._wake.set()
        if self._loops:
            await asyncio.gather(self._loops[0], return_exceptions=True)
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=seconds)
        left = list(self._tasks)
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        with contextlib.suppress(ChoreoError):  # another server takes them when their leases have ended
            await self._threads.run(self._leases.put_back, left, uncounted=True)

    async def _take(self) -> None:
        """Take requests until the end."""
        await self._insist(self._take_over)
        while not self._closing:
            try:
                await self._take_some()
            except (StoreUnavailable, NotSaved) as error:
                log.warning("jobs wait: %s", error)
                self._more = False
            except Exception:
                log.exception("no requests of jobs could be taken")
                self._more = False
            full = len(self._tasks) >= self._settings.job_concurrency
            pause = IMPATIENT_S if self._more and not full else LOOK_S
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()
            self._wake.clear()

    async def _take_some(self) -> None:
        room = min(self._settings.job_concurrency - len(self._tasks), self._admission.idle)
        if room <= 0:
            return
        claimed = await self._threads.run(self._leases.claim, room)
        self._more = len(claimed) == room
        if self._closing:
            await self._threads.run(
                self._leases.put_back, [(item.job_id, item.position) for item in claimed], uncounted=True
            )
            return
        for item in claimed:
            key = item.job_id, item.position
            self._tasks[key] = asyncio.create_task(self._do(key, item))
            self._tasks[key].add_done_callback(partial(self._done, key))

    def _done(self, key: Key, task: "asyncio.Task[None]") -> None:
        if self._tasks.get(key) is task:
            del self._tasks[key]
        self.wake()

    async def _tend(self) -> None:
        """Keep the leases, stop what others have taken or cancelled, and take over from servers that are gone."""
        while True:
            await asyncio.sleep(self._settings.job_lease_s / 3)
            try:
                keys = list(self._tasks)
                for key in await self._threads.run(self._leases.heartbeat, keys):
                    if (task := self._tasks.get(key)) is not None:
                        task.cancel()
                if await self._threads.run(self._take_over):
                    self.wake()
            except ChoreoError as error:
                log.warning("leases of jobs were not renewed: %s", error)
            except Exception:
                log.exception("leases of jobs were not renewed")

    def _take_over(self) -> int:
        return self._leases.take_over(self._work.problem(Interrupted(), ""))

    async def _do(self, key: Key, item: Item) -> None:
        """Work on one request, whatever comes of it."""
        with logs.about(job_id=item.job_id):
            await self._end(key, item)

    async def _end(self, key: Key, item: Item) -> None:
        job_id, position = key
        try:
            result = await self._dance(item)
            await self._insist(self._leases.succeed, key, result)
        except asyncio.CancelledError:
            if not self._closing:  # those of a server that stops are put back together
                await asyncio.shield(self._insist(partial(self._leases.put_back, uncounted=True), [key]))
            raise
        except Exception as error:
            unforeseen = not isinstance(error, ChoreoError)
            if _may_pass(error) and item.attempts < self._settings.job_attempts:
                delay = min(2.0**item.attempts / 2, MAX_DELAY_S)
                log.warning("request %d of %s is tried again: %r", position, job_id, error, exc_info=unforeseen)
                await self._insist(self._leases.put_back, [key], delay)
                return
            if unforeseen:
                log.exception("request %d of %s failed", position, job_id)
            await self._insist(self._leases.fail, key, self._work.problem(error, f"{job_id}/{position}"))

    async def _dance(self, item: Item) -> ItemResult:
        name = f"{item.job_id}.{item.position}"
        job: dict[str, str | int] = {"job_id": item.job_id, "position": item.position, "attempts": item.attempts}
        with logs.about(request_id=name), tracing.root("job.item", item.origin, **job):
            return await self._result(name, item)

    async def _result(self, name: str, item: Item) -> ItemResult:
        parts = await self._threads.run(self._parts, item)
        wanted, url = await self._threads.run(self._work.prepare, dict(item.fields), parts, name)
        seconds = item.fields.get("timeout") or self._settings.max_timeout_s
        wanted = replace(wanted, priority=Priority.BULK, deadline=time.time() + seconds)
        run = self._runs.submit(wanted, self._work.deliver, url)
        try:
            done = await self._runs.wait(run)
        finally:
            await self._runs.cancel(run)
        self._work.made(item, wanted, done)
        return await self._threads.run(self._keep, item, wanted, done)

    def _parts(self, item: Item) -> Attachments:
        read = {part: self._spool.read(item.job_id, INPUT, name) for part, name in item.parts.items()}
        return Attachments(**read)

    def _keep(self, item: Item, request: MotionRequest, done: DeliveredFile) -> ItemResult:
        """The file is durable before the request has ended."""
        name = f"{item.position:06d}{request.format.suffix}"
        self._spool.write(item.job_id, FILES, name, done.body)
        meta = {
            "seed": request.seed,
            "model": done.model,
            "num_frames": done.num_frames,
            "rows": done.rows,
            "seconds": done.seconds,
            "notes": list(done.notes),
        }
        if done.samples:
            meta |= {"samples": list(done.samples), "samples_failed": done.samples_failed}
        return ItemResult(name, request.format.media_type, len(done.body), hashlib.sha256(done.body).hexdigest(), meta)

    async def _insist(self, work: Callable[..., T], *args: Any) -> T | None:
        """Do what must be done to the store, which may be away for a moment.

        When it stays away, the request's lease runs out, and the request is danced again.
        """
        for delay in (*_INSIST_S, None):
            try:
                return await self._threads.run(work, *args)
            except (StoreUnavailable, NotSaved) as error:
                if delay is None:
                    log.error("the store of jobs cannot be written: %s", error)
                    break
            except Exception:
                log.exception("the store of jobs cannot be written")
                break
            await asyncio.sleep(delay)
        return None


def _may_pass(error: Exception) -> bool:
    """Whether the same request may succeed later: what nobody foresaw may be its surroundings, such as a dying Ray."""
    if isinstance(error, BackendUnavailable | Overloaded | NotSaved):
        return True
    return not isinstance(error, ChoreoError)
