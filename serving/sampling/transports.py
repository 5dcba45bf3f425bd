"""How step batches reach an engine: as messages, or through memory that a Triton server of this host shares."""

import itertools
import logging
from collections.abc import Callable
from typing import Protocol, runtime_checkable

from choreo.generators.base import Tensors, zeros
from choreo.generators.spec import GraphSpec, Shapes
from serving.engines.base import Engine
from serving.engines.shared_region import NotShared, SharedRegion
from serving.util.ownership import owner_prefix, sweep

log = logging.getLogger(__name__)


class BatchTransport(Protocol):
    """Takes the batches of one graph to an engine."""

    def inputs(self, rows: int) -> Tensors:
        """Zeros for the graph's inputs, where `evaluate` can read them best."""
        ...

    async def evaluate(self, inputs: Tensors, rows: int, deadline: float | None) -> Tensors:
        """Outputs for the first rows of arrays that `inputs` made; they are valid until the next evaluation of those.

        Raises:
            DeadlineExceeded, ModelUnavailable, BackendUnavailable, NonFiniteOutput: as in `Engine.infer`.
        """
        ...

    async def close(self) -> None:
        """Give back what `inputs` took; the engine stays open."""
        ...


MakeTransport = Callable[[str, GraphSpec], BatchTransport]
"""A transport for a graph, given its key and its spec."""


@runtime_checkable
class SharedMemoryEngine(Protocol):
    """An engine that can take inputs from shared memory, and leave outputs there."""

    async def infer_shared(
        self, graph: str, inputs: SharedRegion, outputs: SharedRegion, rows: int, *, deadline: float | None = None
    ) -> Tensors:
        """Evaluate a graph on the first rows of a region.

        Returns:
            Views of `outputs`, which the next evaluation into the same region overwrites.

        Raises:
            NotShared: the server cannot see the memory of this process.
            DeadlineExceeded, ModelUnavailable, BackendUnavailable, NonFiniteOutput: as in `Engine.infer`.
        """
        ...

    async def forget(self, region: SharedRegion) -> None:
        """Have servers unmap a region; never fails."""
        ...


def transport_for(engine: Engine, shared_memory: bool = True) -> MakeTransport:
    """The fastest way to an engine."""
    if shared_memory and isinstance(engine, SharedMemoryEngine):
        return lambda key, graph: SharedMemoryTransport(engine, key, graph)
    return message_transport(engine)


def message_transport(engine: Engine) -> MakeTransport:
    """Arrays are handed over in every call."""
    return lambda key, graph: MessageTransport(engine, key, graph)


class MessageTransport:
    """Batches to any engine, as arrays of this process."""

    def __init__(self, engine: Engine, key: str, graph: GraphSpec) -> None:
        self._engine, self._key, self._graph = engine, key, graph

    def inputs(self, rows: int) -> Tensors:
        """Zeros in this process."""
        return zeros(self._graph, rows)

    async def evaluate(self, inputs: Tensors, rows: int, deadline: float | None) -> Tensors:
        """Hand the rows over; errors as in `BatchTransport.evaluate`."""
        part = {name: values[:rows] for name, values in inputs.items()}
        return await self._engine.infer(self._key, part, deadline=deadline)

    async def close(self) -> None:
        """Nothing is kept."""


class SharedMemoryTransport:
    """Batches in memory that Triton servers of this host have mapped: constant inputs are written once.

    Where a server turns out not to share this host's memory, arrays are handed over as messages.
    """

    def __init__(self, engine: Engine, key: str, graph: GraphSpec) -> None:
        assert isinstance(engine, SharedMemoryEngine)
        self._messages, self._sharing = MessageTransport(engine, key, graph), engine
        self._key, self._graph = key, graph
        self._prefix, self._count = owner_prefix(), itertools.count()
        self._regions: dict[int, tuple[SharedRegion, SharedRegion]] = {}
        self._works = True

    def inputs(self, rows: int) -> Tensors:
        """Zeros in a shared region, or in this process where there is no room for one."""
        if self._works:
            try:
                region = self._region(self._graph.input_shapes, rows)
                self._regions[id(region.arrays)] = region, self._region(self._graph.output_shapes, rows)
                return region.arrays
            except OSError as error:
                self._give_up(str(error))
        return self._messages.inputs(rows)

    async def evaluate(self, inputs: Tensors, rows: int, deadline: float | None) -> Tensors:
        """Evaluate in place; errors as in `BatchTransport.evaluate`."""
        regions = self._regions.get(id(inputs))
        if regions is None or not self._works:
            return await self._messages.evaluate(inputs, rows, deadline)
        region, outputs = regions
        try:
            return await self._sharing.infer_shared(self._key, region, outputs, rows, deadline=deadline)
        except NotShared as error:
            self._give_up(str(error))
            return await self._messages.evaluate(inputs, rows, deadline)
        except BaseException:
            # A server may still write there when nothing waits for it any more. Late reading does no harm.
            capacity = len(next(iter(inputs.values())))
            self._regions[id(inputs)] = region, self._region(self._graph.output_shapes, capacity)
            outputs.unlink()
            await self._sharing.forget(outputs)
            raise

    async def close(self) -> None:
        """Unmap and remove the regions."""
        for region in itertools.chain.from_iterable(self._regions.values()):
            await self._sharing.forget(region)
        self._regions.clear()
        sweep(self._prefix)

    def _region(self, shapes: Shapes, rows: int) -> SharedRegion:
        return SharedRegion(f"{self._prefix}{next(self._count)}", shapes, rows)

    def _give_up(self, reason: str) -> None:
        if self._works:
            log.warning("step batches are sent to Triton as messages, not through shared memory: %s", reason)
        self._works = False
