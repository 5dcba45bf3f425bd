"""Moves trajectories through an engine in the step batches that the scheduler chooses.

While one batch is computed the next one is made ready and queued behind it, so that the engine does not wait for this
process. A request joins and leaves between batches.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from contextvars import Context
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from choreo.errors import BackendUnavailable, ChoreoError, DeadlineExceeded, NonFiniteOutput
from choreo.generators.base import Tensors, Trajectory
from choreo.generators.spec import GeneratorSpec
from serving.engines.base import Engine
from serving.pipeline.results import NO_STEPS, StepCounts
from serving.sampling.scheduler import ActiveRequest, BatchOptions, Slot, State, StepBatch, StepScheduler
from serving.sampling.step_buffer import StepBuffer
from serving.sampling.transports import BatchTransport, MakeTransport, message_transport, transport_for
from serving.settings import Settings
from serving.util import tracing

log = logging.getLogger(__name__)


_UNTRACED: Final = nullcontext()


class Executor(Protocol):
    """Takes trajectories to their end."""

    async def run(self, trajectory: Trajectory, spec: GeneratorSpec) -> None:
        """Evaluate; `trajectory.done` afterwards.

        Raises:
            DeadlineExceeded: its deadline passed; no further step was started.
            ModelUnavailable, BackendUnavailable: a call failed, and once more on the second try.
            NonFiniteOutput: the model produced NaN or infinity in one of its rows.
        """
        ...

    async def release(self, model: str) -> None:
        """Give back what is kept for the graphs of a generator that is not served any more."""
        ...

    def take_counts(self) -> StepCounts:
        """The step batches since this was asked before."""
        ...

    async def close(self) -> None:
        """Fail what is under way."""
        ...


MakeExecutor = Callable[[Engine], Executor]


def executor(settings: Settings) -> MakeExecutor:
    """Maker of the executor that the settings name."""

    def step_batches(engine: Engine) -> Executor:
        options = BatchOptions(rows=settings.step_batch_rows)
        return StepBatchRunner(engine, options, transport_for(engine, settings.shared_memory))

    return SeparateRequests if settings.executor == "requests" else step_batches


@dataclass(frozen=True)
class _Buffers:
    """The transport of one graph, and the buffers that no batch is in."""

    transport: BatchTransport
    free: list[StepBuffer] = field(default_factory=list)


class StepBatchRunner:
    """The requests under way on one event loop, and the task that moves them."""

    def __init__(
        self,
        engine: Engine,
        options: BatchOptions | None = None,
        make_transport: MakeTransport | None = None,
        keep_instances_busy: bool = True,
    ) -> None:
        """With `keep_instances_busy=False` a call has all rows that are ready, and the server divides them."""
        self.scheduler = StepScheduler(options)
        self._engine, self._make_transport = engine, make_transport or message_transport(engine)
        self._divide = keep_instances_busy
        self._instances: dict[str, int] = {}
        self._buffers: dict[str, _Buffers] = {}
        self._ended: dict[ActiveRequest, asyncio.Future[None]] = {}
        self._wake: asyncio.Event | None = None
        self._driver: asyncio.Task[None] | None = None
        self._counts = NO_STEPS
        self._traced: dict[ActiveRequest, Any] = {}
        self._span = str(getattr(engine, "infer_span", "infer"))

    async def run(self, trajectory: Trajectory, spec: GeneratorSpec) -> None:
        """Evaluate to the end; errors as in `Executor.run`. A caller that is cancelled takes its rows along."""
        for graph in spec.graphs:
            key = spec.key(graph.name)
            self._instances[key] = await self._engine.instances(key) if self._divide else 1
        request = self.scheduler.admit(trajectory, spec)
        if not request.active:
            return
        ended = self._ended[request] = asyncio.get_running_loop().create_future()
        if (traced := tracing.current()) is not None:
            self._traced[request] = traced
        if self._wake is None or self._driver is None or self._driver.done():
            # Made here: an event belongs to the event loop that is running.
            self._wake = asyncio.Event()
            # It works for all requests, so it must not be in the context of this one.
            self._driver = asyncio.create_task(self._drive(self._wake), context=Context())
        self._wake.set()
        try:
            await ended
        finally:
            self._leave(request)

    async def release(self, model: str) -> None:
        """Give back the buffers of a generator's graphs; batches that are in some keep them until they are done."""
        keys = [key for key in self._buffers if key.startswith(f"{model}.")]
        # All at once, before anybody else may begin new ones.
        for buffers in [self._buffers.pop(key) for key in keys]:
            await buffers.transport.close()

    def take_counts(self) -> StepCounts:
        """The step batches since this was asked before."""
        counts, self._counts = self._counts, NO_STEPS
        return counts

    async def close(self) -> None:
        """Fail what is under way and stop."""
        for request in self.scheduler.requests:
            self._fail(request, BackendUnavailable("the sampler was closed"))
        if self._driver is not None:
            self._driver.cancel()
            await asyncio.gather(self._driver, return_exceptions=True)
        for buffers in self._buffers.values():
            await buffers.transport.close()
        self._buffers.clear()

    async def _drive(self, wake: asyncio.Event) -> None:
        running: set[asyncio.Task[None]] = set()
        try:
            while self.scheduler.requests or running:
                wake.clear()
                for late in self.scheduler.expire(time.monotonic()):
                    self._end(late)
                while (batch := self.scheduler.next_batch(self._instances)) is not None:
                    task = asyncio.create_task(self._evaluate(batch))
                    task.add_done_callback(lambda _: wake.set())
                    running.add(task)
                await wake.wait()
                for task in [task for task in running if task.done()]:
                    running.remove(task)
                    task.result()
        except Exception as error:  # a defect must not leave callers waiting for ever
            for request in self.scheduler.requests:
                self._fail(request, BackendUnavailable(f"the sampler failed: {error!r}"))
            raise
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def _evaluate(self, batch: StepBatch) -> None:
        buffers = self._buffers_of(batch)
        buffer = self._buffer(batch, buffers)
        try:
            await self._step(batch, buffers.transport, buffer)
        except Exception as error:  # of one generator: a server has another export, or its family has a defect
            if not isinstance(error, ChoreoError):
                log.exception("a step of %s failed", batch.key)
                error = BackendUnavailable(f"the sampler failed: {error!r}")
            for request in batch.requests:
                self._fail(request, error)
        finally:
            self.scheduler.left(batch)
            for request in batch.requests:
                if not request.active:
                    buffer.forget(request.trajectory)
            buffers.free.append(buffer)

    async def _step(self, batch: StepBatch, transport: BatchTransport, buffer: StepBuffer) -> None:
        try:
            deadline = None if batch.deadline == float("inf") else batch.deadline
            with self._traced_call(batch) if self._traced else _UNTRACED:
                slots, outputs = await _outputs(batch, transport, buffer, deadline)
        except NonFiniteOutput as error:
            await self._isolate(batch, transport, buffer, error)
        except (BackendUnavailable, DeadlineExceeded) as error:
            self._retry(batch, error)
        else:
            self._count(batch)
            self._scatter(slots, outputs)

    def _traced_call(self, batch: StepBatch) -> AbstractContextManager[None]:
        """A span of the call in the traces of the requests that are in the batch."""
        requests = batch.requests
        members = [self._traced[request] for request in requests if request in self._traced]
        return tracing.shared(self._span, members, graph=batch.key, rows=len(batch.slots), requests=len(requests))

    def _count(self, batch: StepBatch) -> None:
        had, room = self._counts, min(self.scheduler.options.rows, batch.graph.max_rows)
        self._counts = StepCounts(had.batches + 1, had.rows + len(batch.slots), had.capacity + room)

    def _scatter(self, slots: list[Slot], outputs: Tensors) -> None:
        """Add outputs to their requests, and make the steps that are complete."""
        touched: dict[ActiveRequest, None] = {}
        for at, slot in enumerate(slots):
            if not slot.stale:
                slot.request.trajectory.add(slot.row, {name: values[at] for name, values in outputs.items()})
                touched[slot.request] = None
        complete = [request for request in touched if request.trajectory.complete]
        for request in complete:
            request.trajectory.advance()
        self.scheduler.advanced(complete)
        for request in complete:
            self._end(request)

    async def _isolate(
        self, batch: StepBatch, transport: BatchTransport, buffer: StepBuffer, error: NonFiniteOutput
    ) -> None:
        """After a batch with NaN in it: the rows of each request alone, so that only those fail that produce it."""
        if len(batch.requests) == 1:
            self._fail(batch.requests[0], error)
            return
        for request in batch.requests:
            alone = StepBatch(batch.key, batch.graph, tuple(slot for slot in batch.slots if slot.request is request))
            try:
                slots, outputs = await _outputs(alone, transport, buffer, None)
            except NonFiniteOutput as own:
                self._fail(request, own)
            except (BackendUnavailable, DeadlineExceeded) as failure:
                self._retry(alone, failure)
            else:
                self._scatter(slots, outputs)

    def _retry(self, batch: StepBatch, error: BackendUnavailable | DeadlineExceeded) -> None:
        # A deadline is that of the batch: requests in it that have one of their own fail by it alone.
        self.scheduler.retry(batch, error, counts=isinstance(error, BackendUnavailable))
        for request in batch.requests:
            self._end(request)

    def _buffers_of(self, batch: StepBatch) -> _Buffers:
        if batch.key not in self._buffers:
            self._buffers[batch.key] = _Buffers(self._make_transport(batch.key, batch.graph))
        return self._buffers[batch.key]

    def _buffer(self, batch: StepBatch, buffers: _Buffers) -> StepBuffer:
        """The free buffer that has most of the rows already, or a new one."""
        if buffers.free:
            wanted = {(slot.request.trajectory, slot.row) for slot in batch.slots}
            best = max(buffers.free, key=lambda buffer: buffer.loaded(wanted))
            buffers.free.remove(best)
            return best
        return StepBuffer(buffers.transport.inputs(min(self.scheduler.options.rows, batch.graph.max_rows)))

    def _fail(self, request: ActiveRequest, error: ChoreoError) -> None:
        self.scheduler.fail(request, error)
        self._end(request)

    def _end(self, request: ActiveRequest) -> None:
        """Tell the caller of a request that has ended; one that is still active goes on."""
        ended = self._ended.get(request)
        if request.active or ended is None or ended.done():
            return
        if request.state is State.FAILED and request.error is not None:
            ended.set_exception(request.error)
        else:
            ended.set_result(None)

    def _leave(self, request: ActiveRequest) -> None:
        self.scheduler.leave(request)
        self._ended.pop(request, None)
        self._traced.pop(request, None)
        if self._wake is not None:
            self._wake.set()
        for buffers in self._buffers.values():
            for buffer in buffers.free:
                buffer.forget(request.trajectory)


async def _outputs(
    batch: StepBatch, transport: BatchTransport, buffer: StepBuffer, deadline: float | None
) -> tuple[list[Slot], Tensors]:
    """Rows in the order of the buffer, and the outputs of the graph for them."""
    by_row = {(slot.request.trajectory, slot.row): slot for slot in batch.slots}
    slots = [by_row[entry] for entry in buffer.load(list(by_row))]
    return slots, await transport.evaluate(buffer.inputs, len(slots), deadline)


class SeparateRequests:
    """Every request in calls of its own: what shares a batch is left to the dynamic batcher of the server."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._under_way: set[StepBatchRunner] = set()
        self._counts = NO_STEPS

    async def run(self, trajectory: Trajectory, spec: GeneratorSpec) -> None:
        """Evaluate to the end; errors as in `Executor.run`."""
        runner = StepBatchRunner(self._engine, BatchOptions(rows=1024, queued=0), keep_instances_busy=False)
        self._under_way.add(runner)
        try:
            await runner.run(trajectory, spec)
        finally:
            self._under_way.discard(runner)
            had, own = self._counts, runner.take_counts()
            self._counts = StepCounts(had.batches + own.batches, had.rows + own.rows, had.capacity + own.capacity)
            await runner.close()

    async def release(self, model: str) -> None:
        """Nothing is kept between requests."""

    def take_counts(self) -> StepCounts:
        """The calls of the requests that ended since this was asked before."""
        counts, self._counts = self._counts, NO_STEPS
        return counts

    async def close(self) -> None:
        """Fail what is under way."""
        for runner in list(self._under_way):
            await runner.close()
