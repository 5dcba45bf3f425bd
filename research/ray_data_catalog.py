"""Ray Data next to the feed of `choreo batch`, over the same worker and a simulated denoiser.

Both have one actor with the whole pipeline and 64 items under way. `ray-data/B` reads, in blocks of B rows, with
`map_batches` over an actor pool and an asynchronous function; `feed` is what `choreo batch` does, without its journal.
It needs `pip install 'ray[data]'`.
"""

import json
import math
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import typer
from numpy.typing import NDArray

from bench.command import benchmark, quick
from bench.conditioned_engine import ConditionedEngine
from bench.report import Row
from choreo.command_line import numbers, say
from serving.batch.actors import RayWorkers
from serving.batch.attachments import AttachmentReader
from serving.batch.catalog import CatalogRow
from serving.batch.config import WorkerConfig
from serving.batch.feed import Feed
from serving.batch.storage import LocalStore
from serving.batch.worker import Worker
from serving.ray.session import RaySession
from serving.settings import Settings

UNDER_WAY: Final = 64
FIELDS: Final = {
    "text_prompt": "a waltz", "duration": 0.2, "num_steps": 1, "use_rag": False,
    "smooth": False, "bone_lengths": False, "foot_lock": False,
}  # fmt: skip


class DataActor:
    """A worker as Ray Data calls it."""

    def __init__(self, config: WorkerConfig) -> None:
        self._config = config
        self._worker: Worker | None = None

    async def __call__(self, batch: dict[str, NDArray[np.int64]]) -> AsyncIterator[dict[str, Any]]:
        """Outcomes of a block of numbers of rows."""
        if self._worker is None:
            self._worker = Worker(self._config)
            await self._worker.__aenter__()
        outcomes = await self._worker.run([_row(int(index)) for index in batch["id"]])
        yield {"row": np.array([outcome.row for outcome in outcomes], object)}


@benchmark
def main(
    items: Annotated[str, typer.Option(help="Numbers of items, separated by commas.")] = "1000,4000",
    blocks: Annotated[str, typer.Option(help="Rows of a block, separated by commas.")] = "1,8,64",
    quick: Annotated[bool, quick("100 items, blocks of 8")] = False,
) -> Iterator[Row]:
    """Cost per item."""
    counts = numbers("items", "100" if quick else items, 1, 1_000_000)
    sizes = numbers("blocks", "8" if quick else blocks, 1, UNDER_WAY)
    with tempfile.TemporaryDirectory(prefix="choreo-bench-") as folder:
        for count in counts:
            yield from _measured(Path(folder) / f"feed-{count}", f"feed/{count}", count, 0)
            for size in sizes:
                name = f"ray-data-{size}/{count}"
                yield from _measured(Path(folder) / name.replace("/", "-"), name, count, size)


def _measured(folder: Path, case: str, count: int, block: int) -> Iterator[Row]:
    say(case)
    folder.mkdir()
    reader = AttachmentReader(str(folder), False, (), 0)
    config = WorkerConfig(Settings(), LocalStore(folder), reader, make_engine=ConditionedEngine)
    with RaySession() as session:
        times = _with_ray_data(config, count, block) if block else _with_feed(session, config, count)
    yield Row(case, "ms_per_item", 1e3 * (times[-1] - times[0]) / max(len(times) - 1, 1), "ms")


def _with_feed(session: RaySession, config: WorkerConfig, count: int) -> list[float]:
    """Instants at which the driver knew of an outcome."""
    times: list[float] = []
    with RayWorkers(session, config) as workers:
        rows = (_row(index) for index in range(count))
        Feed(workers, rows, UNDER_WAY, lambda outcome: times.append(time.perf_counter())).run()
    return times


def _with_ray_data(config: WorkerConfig, count: int, block: int) -> list[float]:
    import ray

    calls = max(UNDER_WAY // block, 2)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    danced = ray.data.range(count, override_num_blocks=math.ceil(count / block)).map_batches(
        DataActor,
        fn_constructor_args=(config,),
        batch_size=None,
        compute=ray.data.ActorPoolStrategy(
            size=1, max_tasks_in_flight_per_actor=calls, max_concurrent_calls_per_actor=calls
        ),
        num_cpus=1,
    )
    times: list[float] = []
    for row in danced.iter_rows():
        json.loads(row["row"])
        times.append(time.perf_counter())
    return times


def _row(index: int) -> CatalogRow:
    return CatalogRow(index, index + 1, str(index), FIELDS)


if __name__ == "__main__":
    sys.exit(main())
