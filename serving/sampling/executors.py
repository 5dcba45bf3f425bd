"""How trajectories get through the denoiser: each on its own, or together in waves."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from choreo.diffusion.trajectory import Trajectory
from choreo.errors import DeadlineExceeded
from choreo.generators.spec import ModelSpec
from serving.engines.base import Engine
from serving.sampling.runner import BatchOptions, StepBatchRunner
from serving.sampling.step_buffer import StepBuffer
from serving.sampling.transports import MessageTransport, transport_for
from serving.settings import Settings


class Executor(Protocol):
    """Runs trajectories of one model to their end."""

    async def run(self, trajectory: Trajectory) -> None:
        """Denoise; `trajectory.done` afterwards.

        Raises:
            DeadlineExceeded: the plan's deadline passed; no further step was started.
            BackendUnavailable, NonFiniteOutput: from the engine.
        """
        ...

    async def close(self) -> None:
        """Fail what is in flight."""
        ...


class Requests:
    """Every trajectory on its own: one call per step. What shares a batch is left to Triton's dynamic batcher."""

    def __init__(self, engine: Engine, spec: ModelSpec) -> None:
        self._engine = MessageTransport(engine, spec, whole=False)

    async def run(self, trajectory: Trajectory) -> None:
        """See `Executor`."""
        buffer, plan = StepBuffer(self._engine.inputs(trajectory.rows)), trajectory.plan
        while not trajectory.done:
            if time.monotonic() > plan.deadline:
                raise DeadlineExceeded(f"the deadline passed at step {trajectory.index} of {plan.num_steps}")
            if trajectory.rows > len(buffer.inputs["x"]):
                buffer = StepBuffer(self._engine.inputs(trajectory.rows))
            seats = buffer.load([(trajectory, row) for row in range(trajectory.rows)])
            deadline = None if plan.deadline == float("inf") else plan.deadline
            output = await self._engine.evaluate(buffer.inputs, len(seats), deadline)
            for (_, row), values in zip(seats, output, strict=True):
                trajectory.add(row, values)
            trajectory.advance()

    async def close(self) -> None:
        """See `Executor`; callers end with their engine."""
        await asyncio.sleep(0)


MakeExecutor = Callable[[Engine, ModelSpec], Awaitable[Executor]]


async def requests(engine: Engine, spec: ModelSpec) -> Executor:
    """Every trajectory on its own."""
    return Requests(engine, spec)


def executor(settings: Settings) -> MakeExecutor:
    """Maker of the executors that the settings name."""

    async def waves(engine: Engine, spec: ModelSpec) -> Executor:
        options = BatchOptions(rows=settings.wave_rows, instances=await engine.instances())
        return StepBatchRunner(transport_for(engine, spec, settings.shared_memory), spec, options)

    return requests if settings.executor == "requests" else waves
