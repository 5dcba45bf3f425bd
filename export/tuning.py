"""Measures which engine options are the fastest on this machine, in about a minute.

Every option is compared with the defaults in alternating rounds, so that other load on the machine affects both alike;
the result is the median of the ratios. Options that are faster on their own are then measured together, and last the
batch size.
"""

import logging
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from pydantic import BaseModel, ConfigDict

from choreo.generators.sample_inputs import sample_inputs
from choreo.generators.spec import GraphSpec
from export.engine_options import EngineOptions, cores
from export.native.loader import exists
from export.sessions import open_session

MIN_GAIN: Final = 1.02
"""The speed-up from which an option is changed from its default."""
MAX_CPU: Final = 1.05
"""The largest accepted increase of processor time per row, because the rest of the server needs processor time too."""
NEAR_BEST: Final = 0.97
"""The smallest batch with this share of the best batch's throughput is chosen."""
SCREENING_ROWS: Final = 8
BATCHES: Final = (1, 2, 4, 8, 16, 32)
PAUSE_S: Final = 0.002
"""Between two calls, as in serving: what threads do in the meantime is part of the cost of an option."""
BUSY: Final = 1.0
"""Load per core above which there is a warning; an export just before causes some of it."""

_MIN_ROUNDS: Final = 5
_SCREENING_SHARE: Final = 0.6

_logger = logging.getLogger(__name__)


class Machine(BaseModel):
    """What a tuning is valid for: it is dropped if one of these differs."""

    model_config = ConfigDict(frozen=True)

    processor: str
    cores: int
    onnxruntime: str

    @classmethod
    def here(cls) -> Self:
        """This machine, with the cores that this process may use."""
        import onnxruntime

        return cls(processor=processor(), cores=cores(), onnxruntime=onnxruntime.__version__)


class Comparison(BaseModel):
    """A contender relative to the defaults: `speed` is the ratio of rows/s, `cpu` that of processor time per row."""

    model_config = ConfigDict(frozen=True)

    changes: dict[str, bool | int | str]
    speed: float
    cpu: float
    rounds: int


class Tuning(BaseModel):
    """The options chosen for a machine, and the measurements behind the choice."""

    model_config = ConfigDict(frozen=True)

    machine: Machine
    load: float
    """Load average of the minute before the measurement, per core."""
    options: EngineOptions
    screened: tuple[Comparison, ...]
    together: Comparison | None
    """All faster options at once; None if no option was faster."""
    rows_per_s: dict[int, float]
    """By batch size, with the chosen options."""


@dataclass(frozen=True)
class Sample:
    """Seconds that some rows took, and processor time of the whole process for them and during the pause after."""

    wall: float
    cpu: float


def contenders(native: bool = False) -> list[EngineOptions]:
    """The defaults, and every alternative to one option.

    Args:
        native: of the compiled engine, which uses all cores for every call whatever the number of instances.
    """
    present = EngineOptions()
    if native:
        return [present, EngineOptions(runtime="onnxruntime")]
    counts = sorted({1, 2, cores() // 2, cores()} - {0, present.instance_count()})
    return [present, *(EngineOptions(instances=count) for count in counts if count <= cores())]


def changes(options: EngineOptions) -> dict[str, bool | int | str]:
    """The options that differ from the defaults."""
    return options.model_dump(exclude_defaults=True)


def compare(options: EngineOptions, samples: Sequence[Sample], defaults: Sequence[Sample]) -> Comparison:
    """Compare a contender's rounds with those of the defaults."""
    speed = np.median([default.wall / one.wall for one, default in zip(samples, defaults, strict=True)])
    cpu = np.median([one.cpu / default.cpu for one, default in zip(samples, defaults, strict=True)])
    return Comparison(changes=changes(options), speed=float(speed), cpu=float(cpu), rounds=len(samples))


def is_better(comparison: Comparison) -> bool:
    """Whether a contender is faster by enough, without using too much more processor time."""
    return comparison.speed >= MIN_GAIN and comparison.cpu <= MAX_CPU


def joined(screened: Sequence[Comparison]) -> EngineOptions:
    """All better options together; of several values of one option the fastest."""
    chosen: dict[str, bool | int | str] = {}
    for comparison in sorted(screened, key=lambda c: c.speed):
        if is_better(comparison):
            chosen |= comparison.changes
    return EngineOptions.model_validate(chosen)


def best_batch(rows_per_s: Mapping[int, float]) -> int:
    """The smallest batch that is nearly as fast as the fastest."""
    enough = NEAR_BEST * max(rows_per_s.values())
    return min(batch for batch, speed in rows_per_s.items() if speed >= enough)


def tune(graph: Path, spec: GraphSpec, progress: Callable[[float], None], seconds: float = 50.0) -> Tuning:
    """Measure a graph on this machine.

    Args:
        graph: ONNX file, with the compiled engine next to it if there is one.
        spec: its contract.
        progress: told the share of the work that is done.
        seconds: to measure for; each case has at least five rounds, however long they take.
    """
    started, load = time.monotonic(), os.getloadavg()[0] / cores()
    if load > BUSY:
        _logger.warning("the machine is busy (load %.1f per core): the result may not hold when it is idle", load)

    def until(share: float) -> Callable[[], bool]:
        def left() -> bool:
            spent = (time.monotonic() - started) / seconds
            progress(min(spent, share))
            return spent < share

        return left

    rows = min(SCREENING_ROWS, spec.max_rows)
    cases = [_Case(graph, spec, options, rows) for options in contenders(exists(graph.parent))]
    samples = _alternate(cases, until(_SCREENING_SHARE))
    screened = tuple(compare(c.options, s, samples[0]) for c, s in zip(cases[1:], samples[1:], strict=True))
    options, together = joined(screened), None
    if options != EngineOptions():
        pair = [cases[0], _Case(graph, spec, options, rows)]
        default, tuned = _alternate(pair, until(_SCREENING_SHARE + 0.1))
        together = compare(options, tuned, default)
        options = options if is_better(together) else EngineOptions()
    sizes = [batch for batch in BATCHES if batch <= spec.max_rows]
    session = open_session(graph, options)
    measured = _alternate([_Case(graph, spec, options, batch, session) for batch in sizes], until(1.0))
    rows_per_s = {b: b / float(np.median([s.wall for s in of])) for b, of in zip(sizes, measured, strict=True)}
    progress(1.0)
    return Tuning(
        machine=Machine.here(),
        load=load,
        options=options.model_copy(update={"batch_rows": best_batch(rows_per_s)}),
        screened=screened,
        together=together,
        rows_per_s=rows_per_s,
    )


class _Case:
    """A session, and the rows that each instance is called with."""

    def __init__(
        self, graph: Path, spec: GraphSpec, options: EngineOptions, rows: int, session: Any | None = None
    ) -> None:
        self.options = options
        self._session = session or open_session(graph, options)
        self._inputs = sample_inputs(spec, rows)
        self.sample()

    def sample(self) -> Sample:
        """Call all instances at the same time; the cost of one call is its share of the total."""
        count = self.options.instance_count()
        began, cpu = time.perf_counter(), time.process_time()
        with ThreadPoolExecutor(count) as pool:
            list(pool.map(lambda _: self._session.run(None, self._inputs), range(count)))
        wall = time.perf_counter() - began
        time.sleep(PAUSE_S)
        return Sample(wall / count, (time.process_time() - cpu) / count)


def _alternate(cases: Sequence[_Case], left: Callable[[], bool]) -> list[list[Sample]]:
    """Call the cases one after the other, forwards and backwards in turn, while there is time; samples by case."""
    out: list[list[Sample]] = [[] for _ in cases]
    order = list(range(len(cases)))
    while left() or len(out[0]) < _MIN_ROUNDS:
        for i in order:
            out[i].append(cases[i].sample())
        order.reverse()
    return out


def processor() -> str:
    """Name of this machine's processor."""
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
