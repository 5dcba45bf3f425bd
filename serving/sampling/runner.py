"""Continuous batching at the level of a denoising step: rows of whoever is in flight share one call, a wave.

A trajectory takes part in the next wave that has room for its rows, whatever step, sampler or guidance it is at; it
joins and leaves between waves. While one wave is computed the next one is made ready and queued behind it, so that the
engine does not wait for this process.
"""

import asyncio
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from choreo.diffusion.trajectory import Trajectory
from choreo.errors import BackendUnavailable, ChoreoError, DeadlineExceeded, NonFiniteOutput
from choreo.generators.spec import ModelSpec
from serving.engines.base import PAIR
from serving.engines.tensors import Tensors
from serving.sampling.step_buffer import Seat, StepBuffer

RETRIES: Final = 1
"""Times that a trajectory whose wave failed is evaluated again from its last complete step."""


class BatchTransport(Protocol):
    """Evaluates one wave."""

    def inputs(self, rows: int) -> Tensors:
        """Zeros for the denoiser's inputs, where `evaluate` can read them best."""
        ...

    async def evaluate(self, inputs: Tensors, rows: int, deadline: float | None) -> NDArray[np.float32]:
        """Predictions (rows, window, C) for the first rows of arrays that `inputs` made, until it is asked for more.

        Raises:
            DeadlineExceeded, BackendUnavailable, NonFiniteOutput: see `serving.engines.base.Engine.infer`.
        """
        ...

    async def close(self) -> None:
        """Give back what `inputs` took; the engine below belongs to whoever made it."""
        ...


@dataclass(frozen=True)
class BatchOptions:
    """Sizes of waves.

    Attributes:
        rows: most rows of one wave.
        instances: waves that the engine computes at a time.
        queued: waves that wait there for whichever instance is done first. Triton joins what waits, so of two one
            instance would get both, and another none.
        worthwhile: rows from which a wave costs hardly more per row than larger ones; smaller ones are not made just to
            have one queued.
    """

    rows: int = 32
    instances: int = 1
    queued: int = 1
    worthwhile: int = 4

    @property
    def depth(self) -> int:
        """StepBatchRunner that are in the engine at a time."""
        return self.instances + self.queued


@dataclass(eq=False)
class _Flight:
    """A trajectory with its share of the waves: `passed` are rows by weight, the least is served next."""

    trajectory: Trajectory
    landed: asyncio.Future[None]
    passed: float
    pending: deque[int] = field(default_factory=deque)
    generation: int = 0
    retries: int = 0

    def begin(self) -> None:
        """All rows of the step that is next wait for a wave."""
        self.pending = deque(range(self.trajectory.rows))
        self.generation += 1

    @property
    def gone(self) -> bool:
        """Whether nobody waits for it any more."""
        return self.landed.done()

    def fail(self, error: ChoreoError) -> None:
        """End with an error, unless it has ended."""
        if not self.landed.done():
            self.landed.set_exception(error)


@dataclass(frozen=True)
class _Wave:
    buffer: StepBuffer
    rows: list[tuple[_Flight, int, int]]
    """Flight, row, and the flight's generation when the row was taken."""


class StepBatchRunner:
    """The trajectories in flight on one event loop, and the task that moves them.

    Args:
        engine: that evaluates waves.
        spec: of its model.
        options: sizes.
    """

    def __init__(self, engine: BatchTransport, spec: ModelSpec, options: BatchOptions) -> None:
        self._engine, self._spec, self._options = engine, spec, options
        self._flights: list[_Flight] = []
        self._free: list[StepBuffer] = []
        self._clock = 0.0
        self._wake: asyncio.Event | None = None
        self._driver: asyncio.Task[None] | None = None

    @property
    def rows_in_flight(self) -> int:
        """Rows of the present steps of all trajectories."""
        return sum(flight.trajectory.rows for flight in self._flights)

    async def run(self, trajectory: Trajectory) -> None:
        """Denoise to the end. When the caller is cancelled its rows leave with the wave that they are in.

        Raises:
            DeadlineExceeded: the plan's deadline passed; no further step was started.
            BackendUnavailable: a wave failed, and once more on the second try.
            NonFiniteOutput: the model produced NaN or infinity in one of these rows.
        """
        flight = _Flight(trajectory, asyncio.get_running_loop().create_future(), self._clock)
        flight.begin()
        self._flights.append(flight)
        if self._wake is None or self._driver is None or self._driver.done():
            # Made here: an event belongs to the event loop that is running.
            self._wake = asyncio.Event()
            self._driver = asyncio.create_task(self._drive(self._wake))
        self._wake.set()
        try:
            await flight.landed
        finally:
            flight.landed.cancel()
            self._leave(flight)

    async def close(self) -> None:
        """Fail what is in flight and stop."""
        for flight in list(self._flights):
            flight.fail(BackendUnavailable("the sampler was closed"))
        if self._driver is not None:
            self._driver.cancel()
            await asyncio.gather(self._driver, return_exceptions=True)
        await self._engine.close()

    async def _drive(self, wake: asyncio.Event) -> None:
        running: set[asyncio.Task[None]] = set()
        try:
            while self._flights or running:
                wake.clear()
                self._turn_away_the_late()
                while len(running) < self._options.depth and (wave := self._compose()) is not None:
                    task = asyncio.create_task(self._evaluate(wave))
                    task.add_done_callback(lambda _: wake.set())
                    running.add(task)
                await wake.wait()
                for task in [task for task in running if task.done()]:
                    running.remove(task)
                    task.result()
        except Exception as error:  # a defect of ours must not leave callers waiting for ever
            for flight in list(self._flights):
                flight.fail(BackendUnavailable(f"the sampler failed: {error!r}"))
            raise
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    def _turn_away_the_late(self) -> None:
        now = time.monotonic()
        for flight in self._flights:
            plan = flight.trajectory.plan
            if now > plan.deadline:
                step = f"step {flight.trajectory.index} of {plan.num_steps}"
                flight.fail(DeadlineExceeded(f"the deadline passed at {step}"))

    def _compose(self) -> _Wave | None:
        """Rows for the next wave, from those served least; None where none waits."""
        waiting = sorted((f for f in self._flights if f.pending and not f.gone), key=lambda f: f.passed)
        if not waiting:
            return None
        wanted, torn = self._size(), len(self._flights) < self._options.depth
        taken: list[tuple[_Flight, int, int]] = []
        for flight in waiting:
            rows, room = len(flight.pending), self._options.rows - len(taken)
            if len(taken) >= wanted:
                break
            if rows > room and rows <= self._options.rows:
                continue  # a step that fits one wave is not torn in two
            # Where there are few, it is: an instance would have nothing to do.
            count = min(rows, room, wanted - len(taken)) if torn or rows > room else rows
            taken += [(flight, flight.pending.popleft(), flight.generation) for _ in range(count)]
            # Who comes now starts level with who is served now (start-time fair queueing, Goyal et al. 1996).
            self._clock = max(self._clock, flight.passed)
            flight.passed += count / flight.trajectory.plan.weight
        return _Wave(self._buffer({(flight.trajectory, row) for flight, row, _ in taken}), taken)

    def _size(self) -> int:
        """Rows to aim at: a share of what is in flight for every instance, and for a queued wave if worthwhile."""
        total, options = self.rows_in_flight, self._options
        if total <= PAIR:
            return PAIR
        parts = options.depth if total >= options.depth * options.worthwhile else options.instances
        if total > options.instances * options.rows:
            # As many for every instance, and all alike: a long song waits for its last wave at every step.
            parts = -(-total // options.rows)
            parts += -parts % options.instances
        return max(1, min(options.rows, -(-total // parts)))

    def _buffer(self, wanted: set[Seat]) -> StepBuffer:
        """The free one in which most of the rows sit already."""
        if not self._free:
            return StepBuffer(self._engine.inputs(self._options.rows))
        best = max(self._free, key=lambda buffer: buffer.seated(wanted))
        self._free.remove(best)
        return best

    async def _evaluate(self, wave: _Wave) -> None:
        taken = {(flight.trajectory, row): (flight, generation) for flight, row, generation in wave.rows}
        try:
            seats = wave.buffer.load(list(taken))
            deadline = max(flight.trajectory.plan.deadline for flight, _, _ in wave.rows)
            output = await self._output(wave.buffer, seats, None if deadline == float("inf") else deadline)
        except NonFiniteOutput as error:
            await self._isolate(wave, error)
        except (BackendUnavailable, DeadlineExceeded) as error:
            self._again(wave, error)
        else:
            self._scatter([(*taken[seat], seat[1], values) for seat, values in zip(seats, output, strict=True)])
        finally:
            for flight in {flight for flight, _, _ in wave.rows if flight.gone}:
                wave.buffer.forget(flight.trajectory)
            self._free.append(wave.buffer)

    async def _output(self, buffer: StepBuffer, seats: list[Seat], deadline: float | None) -> NDArray[np.float32]:
        return await self._engine.evaluate(buffer.inputs, len(seats), deadline)

    def _scatter(self, rows: Iterable[tuple[_Flight, int, int, NDArray[np.float32]]]) -> None:
        touched: dict[_Flight, None] = {}
        for flight, generation, row, values in rows:
            if generation == flight.generation and not flight.gone:
                flight.trajectory.add(row, values)
                touched[flight] = None
        for flight in [flight for flight in touched if flight.trajectory.complete]:
            flight.trajectory.advance()
            if flight.trajectory.done:
                flight.landed.set_result(None)
            else:
                flight.begin()

    async def _isolate(self, wave: _Wave, error: NonFiniteOutput) -> None:
        """After a wave with NaN in it: each trajectory's rows alone, so that only those fail that it came from."""
        flights = dict.fromkeys(flight for flight, _, _ in wave.rows)
        if len(flights) == 1:
            next(iter(flights)).fail(error)
            return
        for flight in flights:
            alone = [entry for entry in wave.rows if entry[0] is flight]
            taken = {(flight.trajectory, row): generation for _, row, generation in alone}
            try:
                seats = wave.buffer.load(list(taken))
                output = await self._output(wave.buffer, seats, None)
            except NonFiniteOutput as own:
                flight.fail(own)
            except (BackendUnavailable, DeadlineExceeded) as failure:
                self._again(_Wave(wave.buffer, alone), failure)
            else:
                self._scatter([(flight, taken[seat], seat[1], v) for seat, v in zip(seats, output, strict=True)])

    def _again(self, wave: _Wave, error: BackendUnavailable | DeadlineExceeded) -> None:
        """Have the steps of a failed wave evaluated once more; whoever had that already fails."""
        for flight in dict.fromkeys(flight for flight, _, generation in wave.rows if generation == flight.generation):
            if isinstance(error, BackendUnavailable):
                flight.retries += 1
            if flight.retries > RETRIES:
                flight.fail(error)
            elif not flight.gone:
                flight.trajectory.repeat()
                flight.begin()

    def _leave(self, flight: _Flight) -> None:
        self._flights.remove(flight)
        if self._wake is not None:
            self._wake.set()
        for buffer in self._free:
            buffer.forget(flight.trajectory)
