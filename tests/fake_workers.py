"""Catalogs, and workers that write small files in this process instead of dancing."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from serving.batch.catalog import CatalogRow
from serving.batch.config import WorkerConfig
from serving.batch.feed import Done, Workers
from serving.batch.items import request_of
from serving.batch.names import file_name
from serving.batch.outcome import RunStopped, failure, success
from serving.batch.progress import Silent
from serving.batch.run import BatchOptions, run_batch
from serving.settings import Settings


@dataclass
class FakeWorkers:
    """Workers whose files say which request they are of.

    Attributes:
        before: called with every row; what it raises ends the wait, and RuntimeError is the death of the worker.
        danced: ids of rows that came to their end, in order.
        most: most rows that were under way at a time.
    """

    before: Callable[[CatalogRow], None] = lambda row: None
    danced: list[str] = field(default_factory=list)
    most: int = 0
    count: int = 2
    _waiting: list[Sequence[CatalogRow]] = field(default_factory=list)

    @contextmanager
    def start(self, config: WorkerConfig) -> Iterator[Workers]:
        self._config, self._waiting = config, []
        yield self

    def submit(self, rows: Sequence[CatalogRow]) -> None:
        self._waiting.append(rows)
        self.most = max(self.most, sum(map(len, self._waiting)))

    def wait(self, seconds: float) -> list[Done]:
        rows = self._waiting.pop()  # the latest first: results come in any order
        outcomes = []
        for row in rows:
            try:
                self.before(row)
            except RuntimeError as error:
                if isinstance(error, RunStopped):
                    raise
                return [Done(rows, None)]
            try:
                request, formats = request_of(row, self._config.defaults, self._config.reader, self._config.settings)
            except Exception as error:
                outcomes.append(failure(row, error))
                continue
            names = {}
            for fmt in formats:
                names[fmt.name] = file_name(row.index, row.custom_id, fmt.suffix)
                self._config.store.write(names[fmt.name], f"{request.seed} {request.num_steps}".encode())
            outcomes.append(success(row, names, {"seed": request.seed}))
            self.danced.append(row.custom_id)
        return [Done(rows, outcomes)]


@dataclass
class Place:
    """A folder with a catalog and results."""

    folder: Path
    workers: FakeWorkers

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def catalog(self, *rows: Any, name: str = "catalog.jsonl") -> Path:
        path = self.folder / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    def run(self, catalog: Path | str, settings: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
        given = {"out": str(self.out)} | options
        made = Settings(**(settings or {}))
        return run_batch(BatchOptions(str(catalog), **given), made, Silent(), self.workers.start)

    def results(self, name: str = "results.jsonl") -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.out / name).read_text().splitlines()]

    def files(self) -> dict[str, bytes]:
        """Everything that two runs of one catalog must agree in."""
        found = {str(p.relative_to(self.out)): p.read_bytes() for p in self.out.rglob("*") if p.is_file()}
        return {name: data for name, data in found.items() if name not in ("run.json", "journal.jsonl")}


def prompts(count: int, **fields: Any) -> list[dict[str, Any]]:
    return [{"custom_id": f"item-{i}", "body": {"text_prompt": f"dance {i}"} | fields} for i in range(count)]
