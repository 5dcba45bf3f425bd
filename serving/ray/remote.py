"""Replicas and handles, derived from the contract of a stage.

A replica wraps a stage: errors of this program are returned, not raised, because Ray would wrap them and log a
traceback for every refused request. A handle turns them back, and knows cancellation, lost replicas and full queues.
A call takes along which request it is for and the trace it is in, so that log lines and spans of replicas belong to it.
"""

import asyncio
import logging
import os
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from ray.exceptions import RayActorError, TaskCancelledError, WorkerCrashedError
from ray.serve.exceptions import (
    BackPressureError,
    DeploymentUnavailableError,
    ReplicaUnavailableError,
    RequestCancelledError,
)
from ray.serve.handle import DeploymentHandle

from choreo.errors import BackendUnavailable, ChoreoError
from serving.errors import Overloaded
from serving.pipeline.figures import StageFigures, figures_of
from serving.util import tracing
from serving.util.call_context import CallContext, incoming, outgoing
from serving.util.logs import LogOptions, adopt_foreign, configure

log = logging.getLogger(__name__)

T = TypeVar("T")

ATTEMPTS = 2
"""Stages are functions of their arguments, the seed among them, so a call that died with its replica is repeated."""

FLUSH_MS = 1000
"""Longest time that a replica which is stopped takes to send its spans."""

_LOST = (RayActorError, ReplicaUnavailableError, WorkerCrashedError)
_CANCELLED = (asyncio.CancelledError, RequestCancelledError, TaskCancelledError)


@dataclass(frozen=True)
class Failed:
    """An error on its way back to the caller."""

    error: ChoreoError


class StageReplica:
    """Base of the classes that `replica_class` makes; `stage` does the work, and `name` no other replica has."""

    stage: Any
    name: str

    async def figures(self, call_context: CallContext | None = None) -> StageFigures:
        """What the stage tells of itself, and which replica it is in; for which request does not matter."""
        return replace(await figures_of(self.stage), replica=self.name)

    def __del__(self) -> None:
        """Called by Ray on the event loop when the replica is stopped."""
        tracing.flush(FLUSH_MS)


def observe(logs: LogOptions) -> None:
    """Set up logs and traces of the process of a replica."""
    configure(logs)
    adopt_foreign()
    tracing.begin(os.environ, logs.component)


def replica_class(contract: type, make: Callable[..., Any]) -> type[StageReplica]:
    """A class whose instances have the methods of a stage's contract, over the stage that `make` returns.

    Args:
        contract: protocol of the stage.
        make: called with the positional arguments of the constructor. Its argument `logs` says how the process of the
            replica logs; without it, neither logs nor traces of the process are set up.
    """

    def __init__(self: StageReplica, *args: Any, logs: LogOptions | None = None) -> None:
        if logs is not None:
            observe(logs)
        self.stage, self.name = make(*args), secrets.token_hex(8)

    methods = {name: _returning_errors(name, contract) for name in stage_methods(contract)}
    return type(f"{contract.__name__}Replica", (StageReplica,), {"__init__": __init__, **methods})


def remote(contract: Any, handle: DeploymentHandle) -> Any:
    """A stage behind a deployment handle; `replica_class` made the deployment of the same contract."""
    methods = {name: _calling(getattr(handle, name)) for name in (*stage_methods(contract), "figures")}
    return type(f"Remote{contract.__name__}", (), methods)()


def stage_methods(contract: type) -> list[str]:
    """Names of the methods of a stage's contract."""
    return [name for name, value in vars(contract).items() if asyncio.iscoroutinefunction(value)]


async def outcome(work: Awaitable[T]) -> T | Failed:
    """The result of the work, or the error of this program that it ended with."""
    try:
        return await work
    except ChoreoError as error:
        return Failed(error)


async def call(method: DeploymentHandle, *args: Any) -> Any:
    """Call a method of a deployment.

    If the caller is cancelled, so is the call, wherever it has got to.

    Raises:
        ChoreoError: what the method returned as `Failed`.
        Overloaded: the deployment's queue is full.
        BackendUnavailable: no replica could answer.
    """
    lost, context = "", outgoing()
    given = {} if context is None else {"call_context": context}
    for _ in range(ATTEMPTS):
        response = method.remote(*args, **given)
        try:
            result = await response
        except _CANCELLED as error:
            response.cancel()
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise asyncio.CancelledError from error
            lost = "a replica gave up a request"  # the caller did not ask for that: the replica is being stopped
        except BackPressureError as error:
            raise Overloaded from error
        except DeploymentUnavailableError as error:
            raise BackendUnavailable(f"a deployment is down: {error}") from error
        except _LOST as error:
            lost = f"a replica was lost: {type(error).__name__}"
        else:
            if isinstance(result, Failed):
                raise result.error
            return result
        log.warning("%s", lost)
    raise BackendUnavailable(lost)


def _returning_errors(name: str, contract: type) -> Callable[..., Awaitable[Any]]:
    span = f"{contract.__name__}/{name}"

    async def method(self: StageReplica, *args: Any, call_context: CallContext | None = None) -> Any:
        if call_context is None:
            return await outcome(getattr(self.stage, name)(*args))
        with incoming(call_context, span):
            answer = await outcome(getattr(self.stage, name)(*args))
            log.debug("%s answered", span)
            if isinstance(answer, Failed):
                tracing.failed(answer.error)
            return answer

    method.__name__ = name
    return method


def _calling(handle: DeploymentHandle) -> Callable[..., Awaitable[Any]]:
    async def method(self: Any, *args: Any) -> Any:
        return await call(handle, *args)

    return method
