"""How waves reach an engine: as arrays that are handed over, or through memory that a Triton server shares."""

import itertools
import logging
from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from choreo.generators.spec import ModelSpec
from export.repository import GraphName
from serving.engines.base import Engine
from serving.engines.shared_region import NotShared, SharedRegion
from serving.engines.tensors import Tensors
from serving.sampling.runner import BatchTransport
from serving.sampling.step_buffer import denoiser_inputs
from serving.util.ownership import owner_prefix, sweep

log = logging.getLogger(__name__)


@runtime_checkable
class SharedMemoryEngine(Protocol):
    """An engine that can take inputs from shared memory, and leave outputs there."""

    async def infer_shared(
        self, graph: GraphName, inputs: SharedRegion, outputs: SharedRegion, rows: int, *, deadline: float | None = None
    ) -> Tensors:
        """Evaluate a graph on the first rows of a region, not shared out among instances.

        Returns:
            Views of `outputs`, which the next evaluation into the same region overwrites.

        Raises:
            NotShared: the server cannot see the memory of this process.
            DeadlineExceeded, BackendUnavailable, NonFiniteOutput: see `Engine.infer`.
        """
        ...

    async def forget(self, region: SharedRegion) -> None:
        """Have servers let go of a region; never fails."""
        ...


def transport_for(engine: Engine, spec: ModelSpec, shared_memory: bool = True) -> BatchTransport:
    """What takes waves to an engine fastest."""
    if shared_memory and isinstance(engine, SharedMemoryEngine):
        return SharedMemoryTransport(engine, spec)
    return MessageTransport(engine, spec)


class MessageTransport:
    """StepBatchRunner over any engine: arrays of this process, handed over at every step.

    Args:
        whole: see `Engine.infer`.
    """

    def __init__(self, engine: Engine, spec: ModelSpec, whole: bool = True) -> None:
        self._engine, self._spec, self._whole = engine, spec, whole

    def inputs(self, rows: int) -> Tensors:
        """See `BatchTransport`."""
        return denoiser_inputs(self._spec, rows)

    async def evaluate(self, inputs: Tensors, rows: int, deadline: float | None) -> NDArray[np.float32]:
        """See `BatchTransport`."""
        part = {name: values[:rows] for name, values in inputs.items()}
        out = await self._engine.infer("denoiser", part, deadline=deadline, whole=self._whole)
        return out[self._spec.prediction.value]

    async def close(self) -> None:
        """See `BatchTransport`."""


class SharedMemoryTransport:
    """Step batches in memory that Triton servers of this host have mapped: constant inputs are written once.

    Where a server turns out not to share this host's memory, arrays are handed over as before.
    """

    def __init__(self, engine: Engine, spec: ModelSpec) -> None:
        assert isinstance(engine, SharedMemoryEngine)
        self._engine, self._spec, self._sharing = MessageTransport(engine, spec), spec, engine
        self._prefix, self._count = owner_prefix(), itertools.count()
        self._regions: dict[int, tuple[SharedRegion, SharedRegion]] = {}
        self._works = True

    def inputs(self, rows: int) -> Tensors:
        """See `BatchTransport`."""
        if self._works:
            try:
                region = self._region(self._spec.denoiser_inputs(), rows)
                self._regions[id(region.arrays)] = region, self._region(self._spec.denoiser_outputs(), rows)
                return region.arrays
            except OSError as error:
                self._give_up(str(error))
        return self._engine.inputs(rows)

    async def evaluate(self, inputs: Tensors, rows: int, deadline: float | None) -> NDArray[np.float32]:
        """See `BatchTransport`."""
        regions = self._regions.get(id(inputs))
        if regions is None or not self._works:
            return await self._engine.evaluate(inputs, rows, deadline)
        region, outputs = regions
        try:
            out = await self._sharing.infer_shared("denoiser", region, outputs, rows, deadline=deadline)
            return out[self._spec.prediction.value]
        except NotShared as error:
            self._give_up(str(error))
            return await self._engine.evaluate(inputs, rows, deadline)
        except BaseException:
            # A server may still write there when nobody waits for it any more. Late reading does no harm.
            self._regions[id(inputs)] = region, self._region(self._spec.denoiser_outputs(), len(inputs["x"]))
            outputs.unlink()
            await self._sharing.forget(outputs)
            raise

    async def close(self) -> None:
        """See `BatchTransport`."""
        for region in itertools.chain.from_iterable(self._regions.values()):
            await self._sharing.forget(region)
        self._regions.clear()
        sweep(self._prefix)

    def _region(self, shapes: Mapping[str, tuple[int, ...]], rows: int) -> SharedRegion:
        return SharedRegion(f"{self._prefix}{next(self._count)}", shapes, rows)

    def _give_up(self, reason: str) -> None:
        if self._works:
            log.warning("waves are sent to Triton as messages, not through shared memory: %s", reason)
        self._works = False
