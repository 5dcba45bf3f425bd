"""Rates of the machine and of the engine without a server, which servers are measured against."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from bench.contenders import random_inputs, step_graph
from bench.report import seconds
from choreo.generators.checkpoint import load_generator
from choreo.generators.sample_inputs import sample_inputs
from choreo.generators.spec import GraphSpec
from export.engine_options import cores
from serving.pipeline.fields import parse_fields
from serving.pipeline.request import Attachments
from serving.pipeline.validation import validated_request
from serving.settings import Settings
from serving.stages.local import LocalPipeline

BATCHES: Final = (1, 2, 4, 8, 16, 32)
SQUARES: Final = (1024, 1536, 2048)
ROWS_TIMED: Final = 256
"""Rows that each batch size is timed on, in at least `MIN_CALLS` calls per instance."""
SPEED_ROWS: Final = 512
"""The same for `RawEngine.speed`, which takes a second or two."""
MIN_CALLS: Final = 5


@dataclass(frozen=True)
class Speed:
    """Speed of the engine in its largest calls, and of the machine, around the time when a peer was measured.

    A shared machine changes from minute to minute, so only values of the same minutes can be compared.

    Attributes:
        cpu_s_per_row: processor time of all threads, which other processes affect little.
    """

    rows_per_s: float
    cpu_s_per_row: float
    sgemm_gflops: float

    @classmethod
    def mean(cls, *some: "Speed") -> "Speed":
        """The mean of several speeds."""
        values = np.mean([(one.rows_per_s, one.cpu_s_per_row, one.sgemm_gflops) for one in some], axis=0)
        return cls(*map(float, values))


@dataclass(frozen=True)
class Raw:
    """One round's measurements.

    Attributes:
        rows_per_s: rows of the graph per second by rows per call, with a call in flight for every instance.
        sgemm_gflops: best rate of square float32 matrix products, GFLOP/s.
        alone_s: median seconds of one request in this process, by name of its kind.
    """

    rows_per_s: dict[int, float]
    sgemm_gflops: float
    alone_s: dict[str, float]

    @property
    def best(self) -> float:
        """Rows per second at the best batch size."""
        return max(self.rows_per_s.values())


class RawEngine:
    """Context manager: the pipeline and its engine in this process, without a server."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._pipeline = settings, LocalPipeline(settings)
        self._exit = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._loop = stack.enter_context(asyncio.Runner())
            self._loop.run(self._pipeline.__aenter__())
            stack.callback(lambda: self._loop.run(self._pipeline.__aexit__(None, None, None)))
            spec = self._pipeline.spec
            self.graph, self._key = step_graph(spec), spec.key(step_graph(spec).name)
            self.gflop_per_row = gflop_per_row(
                load_generator(self._settings.weights).graphs()[self.graph.name], self.graph
            )
            self._exit = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exit.close()

    def measure(self, batches: Sequence[int], kinds: dict[str, dict[str, Any]], repeats: int = 3) -> Raw:
        """One round.

        Args:
            batches: rows per call; sizes that the graph does not take are left out.
            kinds: fields of the requests to time, by name of the kind.
            repeats: how often each request is timed.
        """
        sizes = [rows for rows in batches if rows <= self.graph.max_rows]
        rates = {rows: self._loop.run(self._rate(rows, ROWS_TIMED))[0] for rows in sizes}
        alone = {}
        for name, body in kinds.items():
            self.motion(body)  # the first request loads the text encoder
            alone[name] = float(np.median([self.motion(body)[1] for _ in range(repeats)]))
        return Raw(rates, sgemm_gflops(), alone)

    def speed(self) -> Speed:
        """Current speed of the engine and of the machine, in calls of as many rows as the graph takes."""
        return Speed(*self._loop.run(self._rate(self.graph.max_rows, SPEED_ROWS)), sgemm_gflops())

    def motion(self, body: dict[str, Any]) -> tuple[NDArray[np.float32], float]:
        """Positions (T, 22, 3) for a request, and the seconds that it took in this process."""
        job = validated_request(parse_fields(body), Attachments(), self._settings)
        began = time.perf_counter()
        result = self._loop.run(self._pipeline.run(job))
        return result.performance.single().positions, time.perf_counter() - began

    async def _rate(self, rows: int, least_rows: int) -> tuple[float, float]:
        """Rows per second, and processor seconds per row, with a call in flight for every instance."""
        engine, inputs = self._pipeline.engine, random_inputs(self.graph, rows)
        instances = await engine.instances(self._key)

        async def calls(count: int) -> None:
            for _ in range(count):
                await engine.infer(self._key, inputs)

        await asyncio.gather(*(calls(1) for _ in range(instances)))
        count = max(least_rows // (rows * instances), MIN_CALLS)
        began, spent = time.perf_counter(), time.process_time()
        await asyncio.gather(*(calls(count) for _ in range(instances)))
        total = rows * instances * count
        return total / (time.perf_counter() - began), (time.process_time() - spent) / total


def gflop_per_row(module: Any, graph: GraphSpec) -> float:
    """GFLOP of one row of a graph, counted by torch in matrix products and convolutions."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        module(*map(torch.from_numpy, sample_inputs(graph, 1).values()))
    return counter.get_total_flops() / 1e9


def sgemm_gflops() -> float:
    """Best rate of float32 matrix products in torch on all cores of this process, GFLOP/s."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(cores())
    try:
        best = 0.0
        for size in SQUARES:
            a, b = torch.rand(size, size), torch.rand(size, size)
            out = torch.empty(size, size)
            fastest = float(seconds(lambda a=a, b=b, out=out: torch.mm(a, b, out=out), 8, 2).min())  # type: ignore[misc]
            best = max(best, 2 * size**3 / fastest / 1e9)
        return best
    finally:
        torch.set_num_threads(before)
