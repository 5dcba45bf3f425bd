"""The engine on Triton servers."""

import asyncio
import itertools
import math
import random
import time
from collections import Counter
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, Final, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException

from choreo.errors import BackendUnavailable, DeadlineExceeded, InvalidInput
from choreo.generators.base import Tensors
from choreo.generators.spec import GeneratorSpec, GraphSpec
from serving.engines.base import remaining
from serving.engines.connection import Connection, ServedModel, failure, may_heal, status_line
from serving.engines.shared_region import SharedRegion
from serving.engines.tensors import checked_inputs, checked_outputs
from serving.errors import ModelUnavailable

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

_MAX_DELAY_S: Final = 1.0
MODELS_FOR_S: Final = 10.0
"""How long a list of the servers' models is believed; a model that is missing from it is asked for at once."""


class TritonEngine:
    """The graphs on Triton servers over gRPC: round-robin, with fail-over and bounded retries.

    An engine belongs to the event loop of its first call.
    """

    infer_span: Final = "triton.infer"
    """What a call is called in traces."""

    def __init__(
        self,
        urls: Sequence[str],
        *,
        default_model: str = "",
        timeout_s: float = 60.0,
        rounds: int = 8,
        first_delay_s: float = 0.05,
    ) -> None:
        """Remember the servers; the first call connects.

        Args:
            urls: `host:port` of each server's gRPC endpoint.
            default_model: generator that is listed first; empty: the first by name.
            timeout_s: longest wait for one answer where no deadline is nearer.
            rounds: times that every server is tried before the engine gives up, by default over some 3.5 s.
            first_delay_s: mean pause after the first round; it doubles, and is drawn at random around the mean.
        """
        if not urls:
            raise InvalidInput("triton_url", "at least one Triton address is needed")
        self._servers = [Connection(url) for url in urls]
        self._default = default_model
        self._turn = itertools.count()
        self._timeout_s, self._rounds, self._first_delay_s = timeout_s, max(1, rounds), first_delay_s
        self._models: dict[str, ServedModel] = {}
        self._believed_until, self._forgotten = -math.inf, False
        self._reading = asyncio.Lock()
        self._closed = False
        self.answered_at = -math.inf
        """Instant of `time.monotonic` at which a server answered last."""

    async def models(self) -> dict[str, GeneratorSpec]:
        """Contracts of the generators on the servers, the default one first.

        Raises:
            BackendUnavailable: no server named a generator.
        """
        if time.monotonic() >= self._believed_until:
            await self._read_models(None)
        names = sorted(self._models, key=lambda name: (name != self._default, name))
        return {name: self._models[name].spec for name in names}

    async def forget_models(self) -> None:
        """Ask the servers for their models at the next call."""
        self._believed_until, self._forgotten = -math.inf, True

    async def instances(self, graph: str) -> int:
        """Calls of a graph that are computed at a time, on all servers."""
        model, spec = await self._graph(graph, None)
        return model.instances[spec.name] * len(self._servers)

    async def infer(
        self, graph: str, inputs: Mapping[str, NDArray[np.float32]], *, deadline: float | None = None
    ) -> Tensors:
        """Evaluate a graph in one call; errors as in `Engine.infer`."""
        model, spec = await self._graph(graph, deadline)
        tensors, rows = checked_inputs(spec, inputs)
        out = await self._try_servers(lambda server, s: server.infer(graph, spec, tensors, model.spec, s), deadline)
        return checked_outputs(spec, out, rows)

    async def infer_shared(
        self, graph: str, inputs: SharedRegion, outputs: SharedRegion, rows: int, *, deadline: float | None = None
    ) -> Tensors:
        """Evaluate a graph on the first rows of a region; see `SharedMemoryEngine` in serving.sampling.transports."""
        model, spec = await self._graph(graph, deadline)
        await self._try_servers(
            lambda server, s: server.infer_shared(graph, inputs, outputs, rows, model.spec, s), deadline
        )
        return checked_outputs(spec, {name: values[:rows] for name, values in outputs.arrays.items()}, rows)

    async def forget(self, region: SharedRegion) -> None:
        """Have the servers unmap a region; never fails."""
        for server in self._servers:
            await server.forget(region)

    async def close(self) -> None:
        """Close the connections."""
        self._closed = True
        for server in self._servers:
            await server.close()

    async def statistics(self) -> dict[str, int]:
        """Rows inferred so far, by graph, summed over all servers.

        Raises:
            BackendUnavailable: a server does not answer, so the sum is not known.
        """
        total: Counter[str] = Counter()
        for server in self._servers:
            try:
                total.update(await server.counts("inference_count", self._timeout_s))
            except InferenceServerException as error:
                raise BackendUnavailable(f"Triton at {server.url} does not answer: {status_line(error)}") from error
        return dict(total)

    async def _graph(self, key: str, deadline: float | None) -> tuple[ServedModel, GraphSpec]:
        """A graph that is served, and its generator.

        Raises:
            ModelUnavailable: no server has it.
        """
        name, _, graph = key.rpartition(".")
        if name not in self._models:
            await self._read_models(deadline)
        if name not in self._models:
            raise ModelUnavailable(f"{name or key} is not served; there are {', '.join(self._models) or 'no models'}")
        model = self._models[name]
        try:
            return model, model.spec.graph(graph)
        except KeyError as error:
            raise ModelUnavailable(str(error.args[0])) from None

    async def _read_models(self, deadline: float | None) -> None:
        began = time.monotonic()
        try:
            # One at a time: callers that asked different servers at once would each believe their own.
            async with asyncio.timeout(remaining(deadline)), self._reading:
                if self._believed_until - MODELS_FOR_S < began:
                    self._forgotten = False
                    self._models = await self._try_servers(lambda server, s: server.models(s, True), deadline)
                    # An answer that was on its way when the models changed may not show that.
                    self._believed_until = -math.inf if self._forgotten else time.monotonic() + MODELS_FOR_S
        except TimeoutError as error:
            raise DeadlineExceeded("the deadline passed before Triton named its models") from error
        if not self._models:
            self._believed_until = -math.inf
            raise BackendUnavailable("no Triton server named its models")

    async def _try_servers(self, call: "_Call[T]", deadline: float | None) -> T:
        """Make a call on the server whose turn it is, and on the others if it cannot answer."""
        last = ""
        for attempt in range(self._rounds):
            if attempt > 0:
                delay = min(_MAX_DELAY_S, self._first_delay_s * 2 ** (attempt - 1)) * random.uniform(0.5, 1.5)
                if deadline is not None and time.monotonic() + delay >= deadline:
                    break
                await asyncio.sleep(delay)
            for server in self._in_turn():
                if self._closed:
                    raise BackendUnavailable("the engine was closed")
                left = remaining(deadline)
                seconds = self._timeout_s if left is None else min(left, self._timeout_s)
                try:
                    answer = await call(server, seconds)
                    self.answered_at = time.monotonic()
                    return answer
                except InferenceServerException as error:
                    if error.status() == "StatusCode.DEADLINE_EXCEEDED" and seconds == left:
                        raise DeadlineExceeded("the deadline passed during inference") from error
                    last = f"{server.url}: {status_line(error)}"
                    if not may_heal(error):
                        raise failure(error, last) from error
        raise BackendUnavailable(f"no Triton server could answer, last {last}")

    def _in_turn(self) -> list["Connection"]:
        first = next(self._turn) % len(self._servers)
        return self._servers[first:] + self._servers[:first]


class _Call(Protocol[T_co]):
    def __call__(self, server: "Connection", seconds: float, /) -> Coroutine[Any, Any, T_co]: ...
