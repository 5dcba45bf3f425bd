"""Engines: what evaluates the two graphs of a generator, in this process or on Triton servers."""

import asyncio
import itertools
import os
import random
import time
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import InferInput
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from choreo.errors import BackendUnavailable, DeadlineExceeded, InvalidArtifact, InvalidInput, MissingDependency
from choreo.models.spec import ModelSpec
from export.repository import GRAPHS, GraphName, graph_outputs, read_spec, spec_of
from serving.tensors import Tensors, checked_inputs, checked_outputs, parts_of
from serving.triton_canary import channel_options

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

_RETRIED = frozenset(f"StatusCode.{name}" for name in ("UNAVAILABLE", "RESOURCE_EXHAUSTED", "CANCELLED"))
_MAX_DELAY_S = 1.0


class Engine(Protocol):
    """Evaluates graphs row by row; rows of one call are independent of each other."""

    async def specs(self) -> dict[str, ModelSpec]:
        """Contracts of the generators served, by their names."""
        ...

    async def infer(
        self, graph: GraphName, inputs: Mapping[str, NDArray[np.float32]], *, deadline: float | None = None
    ) -> Tensors:
        """Evaluate a graph on any number of rows.

        Args:
            graph: which of the two graphs.
            inputs: one array (rows, *shape) for every input in the spec.
            deadline: instant of `time.monotonic` after which the result is of no use.

        Raises:
            InvalidInput: an input is missing, unknown or has the wrong shape; the field is its name.
            DeadlineExceeded: the deadline passed first.
            BackendUnavailable: no server could answer; the call may be repeated later.
            NonFiniteOutput: the model produced NaN or infinity.
        """
        ...

    async def close(self) -> None:
        """Release connections, threads and sessions. The engine cannot be used afterwards."""
        ...

    async def statistics(self) -> dict[str, int]:
        """Rows inferred per graph so far.

        A Triton server counts its warm-ups, canaries and the requests cancelled in its queue too, and a batch only a
        moment after it has answered it.
        """
        ...


class OnnxEngine:
    """The graphs in this process under ONNX Runtime, one call at a time in a thread of its own."""

    def __init__(self, folder: Path, spec: ModelSpec | None = None, threads: int = 0, max_rows: int = 32) -> None:
        """Load both graphs.

        Args:
            folder: a model repository, or a folder with `conditioner.onnx` and `denoiser.onnx`.
            spec: their contract; None reads it from the repository.
            threads: threads of one evaluation; 0: all cores this process may use.
            max_rows: rows of one evaluation; more are done one part after the other.

        Raises:
            MissingDependency: the graphs are not there.
            InvalidArtifact: a graph cannot be loaded.
        """
        self._spec = read_spec(folder) if spec is None else spec
        self._max_rows = max_rows
        self._sessions = {graph: _session(folder, graph, threads) for graph in GRAPHS}
        self._rows = dict.fromkeys(GRAPHS, 0)
        self._closed = False
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="onnx-engine")

    async def specs(self) -> dict[str, ModelSpec]:
        """See `Engine`."""
        return {self._spec.name: self._spec}

    async def infer(
        self, graph: GraphName, inputs: Mapping[str, NDArray[np.float32]], *, deadline: float | None = None
    ) -> Tensors:
        """See `Engine`."""
        import onnxruntime

        if self._closed:
            raise BackendUnavailable("the engine was closed")
        tensors, rows = checked_inputs(self._spec, graph, inputs)
        seconds = _remaining(deadline)
        options = onnxruntime.RunOptions()
        work = asyncio.get_running_loop().run_in_executor(self._executor, self._run, graph, tensors, rows, options)
        try:
            async with asyncio.timeout(seconds):
                return await work
        except TimeoutError as error:
            raise DeadlineExceeded("the deadline passed during inference") from error
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._closed and task is not None and not task.cancelling():
                raise BackendUnavailable("the engine was closed") from None
            raise
        finally:
            # Nobody waits for it any more if it still runs; the next call should not wait for it either.
            options.terminate = True

    async def close(self) -> None:
        """See `Engine`."""
        self._closed = True
        await asyncio.to_thread(self._executor.shutdown, cancel_futures=True)
        self._sessions = {}

    async def statistics(self) -> dict[str, int]:
        """See `Engine`."""
        return {str(graph): rows for graph, rows in self._rows.items()}

    def _run(self, graph: GraphName, tensors: Tensors, rows: int, options: Any) -> Tensors:
        session = self._sessions[graph]
        names = list(graph_outputs(self._spec, graph))
        parts = []
        for part in parts_of(tensors, rows, self._max_rows):
            try:
                outputs = session.run(names, part, options)
            except Exception as error:  # ONNX Runtime has a class for every status, with no base below Exception
                raise BackendUnavailable(f"ONNX Runtime failed on the {graph}: {_first_line(error)}") from error
            parts.append(dict(zip(names, outputs, strict=True)))
        out = checked_outputs(self._spec, graph, parts, rows)
        self._rows[graph] += rows
        return out


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
        self._servers = [_Server(url) for url in urls]
        self._turn = itertools.count()
        self._timeout_s, self._rounds, self._first_delay_s = timeout_s, max(1, rounds), first_delay_s
        self._contract: _Contract | None = None
        self._agreeing = asyncio.Lock()
        self._closed = False

    async def specs(self) -> dict[str, ModelSpec]:
        """See `Engine`."""
        spec = (await self._agreed_contract(None)).spec
        return {spec.name: spec}

    async def infer(
        self, graph: GraphName, inputs: Mapping[str, NDArray[np.float32]], *, deadline: float | None = None
    ) -> Tensors:
        """See `Engine`."""
        contract = await self._agreed_contract(deadline)
        tensors, rows = checked_inputs(contract.spec, graph, inputs)

        async def send(part: Tensors) -> Tensors:
            return await self._try_servers(lambda server, s: server.infer(graph, part, contract, s), deadline)

        sent = [send(part) for part in parts_of(tensors, rows, contract.max_rows[graph])]
        return checked_outputs(contract.spec, graph, await _all_or_none(sent), rows)

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
                raise BackendUnavailable(f"Triton at {server.url} does not answer: {_first_line(error)}") from error
            total = {graph: total[graph] + counts.get(graph, 0) for graph in total}
        return total

    async def _agreed_contract(self, deadline: float | None) -> "_Contract":
        # One at a time: callers that asked different servers at once would each believe their own.
        if self._contract is None:
            await self._agree(deadline)
        if self._contract is None:
            raise BackendUnavailable("no Triton server named its models")
        return self._contract

    async def _agree(self, deadline: float | None) -> None:
        try:
            async with asyncio.timeout(_remaining(deadline)), self._agreeing:
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
                left = _remaining(deadline)
                seconds = self._timeout_s if left is None else min(left, self._timeout_s)
                try:
                    return await call(server, seconds)
                except InferenceServerException as error:
                    if error.status() == "StatusCode.DEADLINE_EXCEEDED" and seconds == left:
                        raise DeadlineExceeded("the deadline passed during inference") from error
                    last = f"{server.url}: {_first_line(error)}"
                    if not _may_heal(error):
                        raise _final(error, last) from error
        raise BackendUnavailable(f"no Triton server could answer, last {last}")

    def _in_turn(self) -> list["_Server"]:
        first = next(self._turn) % len(self._servers)
        return self._servers[first:] + self._servers[:first]


class _Call(Protocol[T_co]):
    def __call__(self, server: "_Server", seconds: float, /) -> Coroutine[Any, Any, T_co]: ...


@dataclass(frozen=True)
class _Contract:
    """What a server says of its models: the spec, and the rows it takes at once per graph."""

    spec: ModelSpec
    max_rows: dict[str, int]


class _Server:
    """One server. Methods raise tritonclient's exceptions, except where a server contradicts its contract."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._client: Any = None
        self._known: _Contract | None = None

    async def contract(self, seconds: float) -> _Contract:
        """Read the models' configurations, once.

        Raises:
            InvalidArtifact: they carry no contract, or not the same.
        """
        if self._known is None:
            configs = {g: (await self._connected().get_model_config(g, client_timeout=seconds)).config for g in GRAPHS}
            specs = [spec_of({k: v.string_value for k, v in c.parameters.items()}, g) for g, c in configs.items()]
            if any(spec != specs[0] for spec in specs):
                raise InvalidArtifact(f"the models of Triton at {self.url} belong to different generators")
            self._known = _Contract(specs[0], {g: max(1, c.max_batch_size) for g, c in configs.items()})
        return self._known

    async def infer(self, graph: GraphName, tensors: Tensors, expected: _Contract, seconds: float) -> Tensors:
        """One request.

        Raises:
            InvalidArtifact: this server has other models than the one that was asked first.
        """
        if await self.contract(seconds) != expected:
            raise InvalidArtifact(f"Triton at {self.url} serves other models than the other servers")
        inputs = []
        for name, values in tensors.items():
            inputs.append(InferInput(name, values.shape, "FP32"))
            inputs[-1].set_data_from_numpy(values)
        result = await self._connected().infer(graph, inputs, client_timeout=seconds)
        # The client's arrays are read-only views of the message; every other engine's can be written to.
        return {name: np.array(result.as_numpy(name), np.float32) for name in graph_outputs(expected.spec, graph)}

    async def counts(self, counter: str, seconds: float) -> dict[str, int]:
        """A counter of the server's statistics, by model."""
        stats = (await self._connected().get_inference_statistics(client_timeout=seconds)).model_stats
        return {s.name: int(getattr(s, counter)) for s in stats}

    async def close(self) -> None:
        """Close the connection."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    def _connected(self) -> Any:
        # Not in the constructor: a gRPC channel belongs to the event loop that is running when it is made.
        if self._client is None:
            self._client = InferenceServerClient(self.url, channel_args=channel_options())
        return self._client


def _session(folder: Path, graph: GraphName, threads: int) -> Any:
    import onnxruntime

    candidates = (folder / graph / "1" / "model.onnx", folder / f"{graph}.onnx")
    path = next((p for p in candidates if p.is_file()), None)
    if path is None:
        raise MissingDependency(f"no ONNX graph of the {graph} in {folder}; `choreo export` writes it")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or len(os.sched_getaffinity(0))
    # Worker threads that spin while they wait would take the cores from the rest of this process.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime has a class for every status, with no base below Exception
        raise InvalidArtifact(f"{path} cannot be loaded: {_first_line(error)}") from error


async def _all_or_none(calls: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Results of concurrent calls; when one fails or the caller is cancelled, the others are cancelled too."""
    tasks = [asyncio.ensure_future(call) for call in calls]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


def _remaining(deadline: float | None) -> float | None:
    """Seconds until a deadline.

    Raises:
        DeadlineExceeded: it has passed.
    """
    if deadline is None:
        return None
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise DeadlineExceeded("the deadline passed before inference")
    return seconds


def _may_heal(error: InferenceServerException) -> bool:
    """Whether the same request may succeed soon: the server is full or down, or its backend process is restarted."""
    return error.status() in _RETRIED or (
        error.status() == "StatusCode.INTERNAL" and "Stub process" in str(error.message())
    )


def _final(error: InferenceServerException, text: str) -> Exception:
    """What a failure that a retry would not heal is to the caller."""
    if error.status() in ("StatusCode.INVALID_ARGUMENT", "StatusCode.NOT_FOUND"):
        return InvalidArtifact(f"the model repository of a Triton server does not fit its contract: {text}")
    return BackendUnavailable(f"a Triton server failed: {text}")


def _first_line(error: Exception) -> str:
    message = error.message() if isinstance(error, InferenceServerException) else str(error)
    return str(message or type(error).__name__).splitlines()[0][:200]
