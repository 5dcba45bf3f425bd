"""Which rows share the next call: the policy of continuous batching at the level of single steps.

It is a pure object. It knows requests, graphs and numbers of rows, and neither clock, event loop nor engine; the runner
(`serving.sampling.runner`) moves it. Requests at the same graph share calls whatever step, sampler or guidance they are
at; a request takes part in the next batch of its graph that has room for its rows.

Fairness is start-time fair queueing (Goyal et al. 1996) over all graphs: serving a row advances its request's virtual
time by the cost of the row over the request's weight, and the request with the least virtual time is served next.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from choreo.errors import ChoreoError, DeadlineExceeded
from choreo.generators.base import Trajectory
from choreo.generators.spec import GeneratorSpec, GraphSpec

MAX_RETRIES: Final = 1
"""Times that a step whose batch failed is evaluated again."""


class State(StrEnum):
    """Where a request is."""

    WAITING = "waiting"
    """Rows of its step wait for a batch."""
    RUNNING = "running"
    """All rows of its step are in batches."""
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class BatchOptions:
    """Sizes of step batches.

    Attributes:
        rows: most rows of one batch; a graph may take fewer.
        queued: batches that wait in the engine for whichever instance is free first, so that it never waits for this
            process.
        min_fill: rows from which a batch costs hardly more per row than larger ones; smaller ones are not made just to
            have one queued.
    """

    rows: int = 32
    queued: int = 1
    min_fill: int = 4


@dataclass(eq=False)
class ActiveRequest:
    """A trajectory under way.

    Attributes:
        pending: rows of this step that wait for a batch.
        generation: number of the step's evaluation; rows of earlier ones are stale.
        virtual_time: cost of the rows served so far, by weight.
        error: what it failed with.
    """

    trajectory: Trajectory
    spec: GeneratorSpec
    virtual_time: float
    pending: deque[int] = field(default_factory=deque)
    generation: int = 0
    retries: int = 0
    state: State = State.WAITING
    error: ChoreoError | None = None

    @property
    def graph(self) -> GraphSpec:
        """The graph that its step evaluates."""
        return self.spec.graph(self.trajectory.graph)

    @property
    def key(self) -> str:
        """Name of that graph among those of all generators."""
        return self.spec.key(self.trajectory.graph)

    @property
    def active(self) -> bool:
        """Whether something waits for its result."""
        return self.state in (State.WAITING, State.RUNNING)


@dataclass(frozen=True)
class Slot:
    """A row in a batch; it is stale once its request has begun another evaluation, or has ended."""

    request: ActiveRequest
    row: int
    generation: int

    @property
    def stale(self) -> bool:
        """Whether its output is of no use any more."""
        return not self.request.active or self.generation != self.request.generation


@dataclass(frozen=True)
class StepBatch:
    """Rows of one graph that are evaluated in one call."""

    key: str
    graph: GraphSpec
    slots: tuple[Slot, ...]

    @property
    def requests(self) -> list[ActiveRequest]:
        """Those that the rows belong to, each once."""
        return list(dict.fromkeys(slot.request for slot in self.slots))

    @property
    def deadline(self) -> float:
        """When the last of its requests expires."""
        return max(request.trajectory.deadline for request in self.requests)


class StepScheduler:
    """The requests under way, and the choice of rows."""

    def __init__(self, options: BatchOptions | None = None) -> None:
        self.options = options or BatchOptions()
        self._requests: dict[ActiveRequest, None] = {}
        self._running: dict[str, int] = {}
        self._clock = 0.0

    @property
    def requests(self) -> list[ActiveRequest]:
        """All that are under way."""
        return list(self._requests)

    def rows_under_way(self, key: str) -> int:
        """Rows of the present steps of all requests at a graph."""
        return sum(request.trajectory.rows for request in self._requests if request.active and request.key == key)

    def admit(self, trajectory: Trajectory, spec: GeneratorSpec) -> ActiveRequest:
        """Take in a request; it starts level with the one that is served now."""
        request = ActiveRequest(trajectory, spec, self._clock)
        if trajectory.done:
            request.state = State.DONE
        else:
            self._requests[request] = None
            self._begin(request)
        return request

    def leave(self, request: ActiveRequest) -> None:
        """Forget a request; one that has not ended is cancelled, and its rows leave with the batches they are in."""
        self._requests.pop(request, None)
        if request.active:
            request.state = State.CANCELLED

    def fail(self, request: ActiveRequest, error: ChoreoError) -> None:
        """End a request with an error, unless it has ended."""
        if request.active:
            request.state, request.error = State.FAILED, error

    def expire(self, now: float) -> list[ActiveRequest]:
        """Fail the requests whose deadline has passed; no further step of theirs is started."""
        late = [request for request in self._requests if request.active and now > request.trajectory.deadline]
        for request in late:
            self.fail(request, DeadlineExceeded(f"the deadline passed at {request.trajectory.progress}"))
        return late

    def next_batch(self, instances: Mapping[str, int]) -> StepBatch | None:
        """Rows for the next call, or None where no rows wait or their engine has all that it needs.

        Args:
            instances: calls that the engine computes at a time, by graph.
        """
        waiting = sorted((r for r in self._requests if r.state is State.WAITING), key=lambda r: r.virtual_time)
        for first in waiting:
            key, computed = first.key, instances[first.key]
            if self._running.get(key, 0) < computed + self.options.queued:
                batch = self._batch([r for r in waiting if r.key == key], computed)
                self._running[key] = self._running.get(key, 0) + 1
                return batch
        return None

    def left(self, batch: StepBatch) -> None:
        """A batch has left the engine."""
        self._running[batch.key] -= 1

    def advanced(self, requests: Iterable[ActiveRequest]) -> None:
        """Trajectories have made a step: they are done, or begin the next one."""
        for request in requests:
            if request.trajectory.done:
                request.state = State.DONE
            else:
                self._begin(request)

    def retry(self, batch: StepBatch, error: ChoreoError, counts: bool) -> None:
        """Have the steps of a failed batch evaluated again, and fail those of requests that had that already.

        Args:
            counts: whether the failure is one that a request may have only `MAX_RETRIES` of.
        """
        for request in dict.fromkeys(slot.request for slot in batch.slots if not slot.stale):
            request.retries += counts
            if request.retries > MAX_RETRIES:
                self.fail(request, error)
            else:
                request.trajectory.repeat()
                self._begin(request)

    def _begin(self, request: ActiveRequest) -> None:
        """All rows of the step that is next wait for a batch."""
        request.pending = deque(range(request.trajectory.rows))
        request.generation += 1
        request.state = State.WAITING

    def _batch(self, waiting: list[ActiveRequest], instances: int) -> StepBatch:
        graph, key = waiting[0].graph, waiting[0].key
        room = min(self.options.rows, graph.max_rows)
        wanted = self._size(key, room, instances)
        # A step that fits one batch is not divided, except where there are so few that instances would have nothing.
        divide = len([r for r in self._requests if r.active and r.key == key]) < instances + self.options.queued
        slots: list[Slot] = []
        for request in waiting:
            rows, left = len(request.pending), room - len(slots)
            if len(slots) >= wanted:
                break
            if left < rows <= room:
                continue
            count = min(rows, left, wanted - len(slots)) if divide or rows > left else rows
            slots += self._take(request, count, graph.cost)
        return StepBatch(key, graph, tuple(slots))

    def _take(self, request: ActiveRequest, count: int, cost: float) -> list[Slot]:
        slots = [Slot(request, request.pending.popleft(), request.generation) for _ in range(count)]
        if not request.pending:
            request.state = State.RUNNING
        self._clock = max(self._clock, request.virtual_time)
        request.virtual_time += count * cost / request.trajectory.weight
        return slots

    def _size(self, key: str, room: int, instances: int) -> int:
        """Rows to aim at: an equal part of what is under way for every instance, and for a queued batch if filled."""
        total, depth = self.rows_under_way(key), instances + self.options.queued
        parts = depth if total >= depth * self.options.min_fill else instances
        if total > instances * room:
            # As many for every instance, and all of one size: a long song waits for its last batch at every step.
            parts = -(-total // room)
            parts += -parts % instances
        return max(1, min(room, -(-total // parts)))
