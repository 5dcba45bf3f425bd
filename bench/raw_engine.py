"""Rates of the machine and of the engine without a server, which servers are measured against."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bench.report import seconds
from choreo.generators.checkpoint import load_generator
from export.engine_options import cores
from export.onnx_graphs import sample_inputs
from export.repository import read_spec
from serving.engines.local import OnnxEngine
from serving.pipeline.pipeline import Pipeline
from serving.pipeline.request import Attachments, parse_fields, validated_request
from serving.settings import Settings
from serving.stages.local import LocalStages

BATCHES: Final = (1, 2, 4, 8, 16, 32, 64)
SQUARES: Final = (1024, 1536, 2048)
ROWS_TIMED: Final = 256
"""Rows that each batch size is timed on, in at least `LEAST` calls."""
SPEED_ROWS: Final = 512
"""The same for `RawEngine.speed`, which takes a second or two."""
LEAST: Final = 5


@dataclass(frozen=True)
class Speed:
    """Speed of the engine at its best batch size, and of the machine, around the time when a peer was measured.

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
        rows_per_s: rows of the denoiser graph per second by batch size, medians of repeated calls.
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

    @property
    def best_batch(self) -> int:
        """The best batch size, rows per call."""
        return max(self.rows_per_s, key=lambda batch: self.rows_per_s[batch])


class RawEngine:
    """The engine in this process, without a server."""

    def __init__(self, settings: Settings) -> None:
        self.spec = read_spec(settings.model_repo)
        self.gflop_per_row = gflop_per_row(settings)
        self._settings = settings.model_copy(update={"executor": "requests"})
        self._engine = OnnxEngine(settings.model_repo, self.spec)
        self._pipeline = Pipeline(LocalStages(self._engine, self._settings))

    def close(self) -> None:
        """Stop the engine's thread."""
        asyncio.run(self._engine.close())

    def measure(self, batches: Sequence[int], kinds: dict[str, dict[str, Any]], repeats: int = 3) -> Raw:
        """One round.

        Args:
            kinds: fields of the requests to time, by name of the kind.
            repeats: how often each request is timed.
        """
        rows = {batch: asyncio.run(self._rate(batch, ROWS_TIMED))[0] for batch in batches}
        alone = {}
        for name, body in kinds.items():
            self.motion(body)  # the first request loads the text encoder
            alone[name] = float(np.median([self.motion(body)[1] for _ in range(repeats)]))
        return Raw(rows, sgemm_gflops(), alone)

    def speed(self, batch: int) -> Speed:
        """Current speed of the engine and of the machine."""
        began = time.process_time()
        rate, rows = asyncio.run(self._rate(batch, SPEED_ROWS))
        return Speed(rate, (time.process_time() - began) / rows, sgemm_gflops())

    def motion(self, body: dict[str, Any]) -> tuple[NDArray[np.float32], float]:
        """Positions (T, 22, 3) for a request, and the seconds that it took in this process."""
        job = validated_request(parse_fields(body), Attachments(), self._settings)
        began = time.perf_counter()
        result = asyncio.run(self._pipeline.run(job))
        return result.motion.positions, time.perf_counter() - began

    async def _rate(self, batch: int, least_rows: int) -> tuple[float, int]:
        """Rows per second, and the number of rows evaluated."""
        inputs = {name: values.numpy() for name, values in sample_inputs("denoiser", self.spec, batch).items()}
        taken = []
        for _ in range(max(least_rows // batch, LEAST) + 1):
            began = time.perf_counter()
            await self._engine.infer("denoiser", inputs)
            taken.append(time.perf_counter() - began)
        return batch / float(np.median(taken[1:])), batch * len(taken)


def gflop_per_row(settings: Settings) -> float:
    """GFLOP of one row of the denoiser, counted by torch in matrix products and convolutions."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    denoiser = load_generator(settings.weights).denoiser
    inputs = sample_inputs("denoiser", load_generator(settings.weights).spec, 1)
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        denoiser(*inputs.values())
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
