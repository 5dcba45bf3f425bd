"""The engine on Triton servers."""

import asyncio
import itertools
import random
import time
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, Final, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException

from choreo.errors import BackendUnavailable, DeadlineExceeded, InvalidInput
from choreo.generators.spec import ModelSpec
from export.repository import GRAPHS, GraphName
from serving.engines.base import remaining
from serving.engines.connection import Connection, Contract, failure, may_heal, status_line
from serving.engines.shared_region import SharedRegion
from serving.engines.tensors import Tensors, checked_inputs, checked_outputs, part, parts_of

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

_MAX_DELAY_S: Final = 1.0


class TritonEngine:
    """The graphs on Triton servers over gRPC: round-robin, with fail-over and bounded retries.

    An engine belongs to the event loop of its first call.
    """

    def __init__(
        self, urls: Sequence[str], *, timeout_s: float = 60.0, rounds: int = 8, first_delay_s: float = 0.05
    ) -> None:
        """Remember the servers; the first call connects.

        Args:
            urls: `host:port` of each server's gRPC endpoint.
            timeout_s: longest wait for one answer where no deadline is nearer.
            rounds: times that every server is tried before the engine gives up, by default over some 3.5 s.
            first_delay_s: mean pause after the first round; it doubles, and is drawn at random around the mean.
        """
        if not urls:
            raise InvalidInput("triton_url", "at least one Triton address is needed")
        self._servers = [Connection(url) for url in urls]
        self._turn = itertools.count()
        self._timeout_s, self._rounds, self._first_delay_s = timeout_s, max(1, rounds), first_delay_s
        self._contract: Contract | None = None
        self._agreeing = asyncio.Lock()
        self._closed = False

    async def specs(self) -> dict[str, ModelSpec]:
        """See `Engine`."""
        spec = (await self._agreed_contract(None)).spec
        return {spec.name: spec}

    async def instances(self) -> int:
        """See `Engine`; those of all servers."""
        return (await self._agreed_contract(None)).instances["denoiser"] * len(self._servers)

    async def infer(
        self,
        graph: GraphName,
        inputs: Mapping[str, NDArray[np.float32]],
        *,
        deadline: float | None = None,
        whole: bool = False,
    ) -> Tensors:
        """See `Engine`."""
        contract = await self._agreed_contract(deadline)
        tensors, rows = checked_inputs(contract.spec, graph, inputs)

        async def send(some: range) -> Tensors:
            inputs = part(tensors, some)
            return await self._try_servers(lambda server, s: server.infer(graph, inputs, contract, s), deadline)

        instances = 1 if whole else contract.instances[graph] * len(self._servers)
        sent = [send(some) for some in parts_of(rows, contract.max_rows[graph], instances)]
        return checked_outputs(contract.spec, graph, await _all_or_none(sent), rows)

    async def infer_shared(
        self, graph: GraphName, inputs: SharedRegion, outputs: SharedRegion, rows: int, *, deadline: float | None = None
    ) -> Tensors:
        """See `serving.sampling.transports.SharedMemoryEngine`."""
        contract = await self._agreed_contract(deadline)

        async def send(some: range) -> None:
            await self._try_servers(
                lambda server, s: server.infer_shared(graph, inputs, outputs, some, contract, s), deadline
            )

        await _all_or_none([send(some) for some in parts_of(rows, contract.max_rows[graph])])
        return checked_outputs(contract.spec, graph, [{n: v[:rows] for n, v in outputs.arrays.items()}], rows)

    async def forget(self, region: SharedRegion) -> None:
        """See `serving.sampling.transports.SharedMemoryEngine`."""
        for server in self._servers:
            await server.forget(region)

    async def close(self) -> None:
        """See `Engine`."""
        self._closed = True
        for server in self._servers:
            await server.close()

    async def statistics(self) -> dict[str, int]:
        """See `Engine`; summed over all servers.

        Raises:
            BackendUnavailable: a server does not answer, so the sum is not known.
        """
        return await self._sum("inference_count")

    async def executions(self) -> dict[str, int]:
        """Batches executed per graph, summed over all servers; rows over batches is the mean batch size."""
        return await self._sum("execution_count")

    async def _sum(self, counter: str) -> dict[str, int]:
        total = dict.fromkeys(map(str, GRAPHS), 0)
        for server in self._servers:
            try:
                counts = await server.counts(counter, self._timeout_s)
            except InferenceServerException as error:
                raise BackendUnavailable(f"Triton at {server.url} does not answer: {status_line(error)}") from error
            total = {graph: total[graph] + counts.get(graph, 0) for graph in total}
        return total

    async def _agreed_contract(self, deadline: float | None) -> "Contract":
        # One at a time: callers that asked different servers at once would each believe their own.
        if self._contract is None:
            await self._agree(deadline)
        if self._contract is None:
            raise BackendUnavailable("no Triton server named its models")
        return self._contract

    async def _agree(self, deadline: float | None) -> None:
        try:
            async with asyncio.timeout(remaining(deadline)), self._agreeing:
                if self._contract is None:
                    self._contract = await self._try_servers(lambda server, s: server.contract(s), deadline)
        except TimeoutError as error:
            raise DeadlineExceeded("the deadline passed before Triton named its models") from error

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
                    return await call(server, seconds)
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


async def _all_or_none(calls: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Results of concurrent calls; when one fails or the caller is cancelled, the others are cancelled too."""
    if len(calls) == 1:
        return [await calls[0]]
    tasks = [asyncio.ensure_future(call) for call in calls]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
