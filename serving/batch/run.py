"""One run of a catalog: what is done already is found in the journal, the rest is danced, and results are written."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from choreo.diffusion.presets import preset
from choreo.errors import ChoreoError, InvalidInput
from choreo.motion.formats.formats import Format
from choreo.rigs.animate import Character
from serving.batch import manifest
from serving.batch.attachments import AttachmentReader
from serving.batch.catalog import Catalog, CatalogRow, open_catalog
from serving.batch.config import WorkerConfig
from serving.batch.feed import Feed, Workers
from serving.batch.items import ItemDefaults
from serving.batch.journal import Journal
from serving.batch.manifest import RESULTS
from serving.batch.names import FOLDER, PER_FOLDER
from serving.batch.outcome import Outcome
from serving.batch.progress import Watcher
from serving.batch.remote import RemoteWorkers
from serving.batch.server_facts import ask
from serving.batch.storage import LocalStore, Store, open_store
from serving.batch.survey import Survey, survey
from serving.settings import Settings

ERRORS: Final = "errors.jsonl"
FINISHED, STOPPED, INTERRUPTED = "finished", "stopped", "interrupted"
MAX_RUNS: Final = 100
"""Calls of the command that run.json remembers."""

StartWorkers = Callable[[WorkerConfig], AbstractContextManager[Workers]]


@dataclass(frozen=True)
class BatchOptions:
    """What to dance, and where to.

    Attributes:
        catalog, out: paths or fsspec addresses.
        formats: of the files of every item; empty: as each row says.
        preset: of rows that name none.
        limit: items to try at most in this run; None: all.
        retry_failed: whether items that failed are tried again.
        checkpoints: of generators, the default one first; empty: those of the settings.
        url: of a running server that dances; None: workers of this command do.
        character: the user's own, which dances every item, too.
    """

    catalog: str
    out: str
    formats: tuple[str, ...] = ()
    preset: str | None = None
    limit: int | None = None
    retry_failed: bool = False
    checkpoints: tuple[Path, ...] = ()
    url: str | None = None
    character: Character | None = None


def run_batch(
    options: BatchOptions, settings: Settings, watcher: Watcher, start_workers: StartWorkers | None = None
) -> dict[str, Any]:
    """Dance a catalog, or what is left of it.

    Args:
        options: what to dance.
        settings: limits, Triton servers and the Ray cluster.
        watcher: told how far it is.
        start_workers: makes the workers; None: Ray actors, or those of the options' server.

    Returns:
        A summary. Its `state` is "finished" when every item that was wanted has been tried, "stopped" when the run
        could not go on, for the `reason`, and "interrupted" after Ctrl-C.

    Raises:
        InvalidInput: an option or the catalog cannot be used; nothing was started.
        ChoreoError, OSError: the results or the catalog cannot be opened.
    """
    names = tuple(dict.fromkeys(Format.named(name).name for name in options.formats))
    if options.preset is not None:
        preset(options.preset)
    if options.limit is not None and options.limit < 1:
        raise InvalidInput("limit", f"must be at least 1, got {options.limit}")
    if settings.triton_url and options.checkpoints:
        raise InvalidInput("model", "is what the Triton servers have; CHOREO_DEFAULT_MODEL chooses among them")
    catalog = open_catalog(options.catalog)
    store = open_store(options.out)
    found = survey(catalog)
    checkpoints = options.checkpoints or settings.models or (settings.weights,)
    rig = None if options.character is None else options.character.digest
    if options.url is None:
        wanted = manifest.configuration(settings, found, names, options.preset, checkpoints, rig)
        document, workers = manifest.claim(store, wanted), start_workers or _ray_workers
    else:
        watcher.stage("asking the server")
        server = ask(options.url, settings.batch_patience_s, found.models)
        wanted = manifest.remote_configuration(settings, found, names, options.preset, server, rig)
        document = manifest.claim(store, wanted) | {"server": server.document(options.url)}
        workers = start_workers or partial(RemoteWorkers, url=options.url, facts=server)
    with Journal(store, found.items) as journal:
        reader = AttachmentReader(
            catalog.base, catalog.follows_links, settings.catalog_protocols, settings.max_body_bytes
        )
        defaults = ItemDefaults(names, options.preset)
        config = WorkerConfig(settings, store, reader, defaults, tuple(checkpoints), options.character)
        return _Run(options, store, catalog, found, journal, watcher).go(document, config, workers)


class _Run:
    """A run whose folder is ours."""

    def __init__(
        self,
        options: BatchOptions,
        store: Store,
        catalog: Catalog,
        found: Survey,
        journal: Journal,
        watcher: Watcher,
    ) -> None:
        self._options, self._store, self._catalog, self._found = options, store, catalog, found
        self._journal, self._watcher = journal, watcher
        self._tried = 0
        todo = ~journal.tried | journal.failed if options.retry_failed else ~journal.tried
        self._todo: NDArray[np.intp] = np.flatnonzero(todo)[: options.limit]

    def go(self, document: dict[str, Any], config: WorkerConfig, start_workers: StartWorkers) -> dict[str, Any]:
        """Dance what is to be danced, and write everything down; the summary."""
        began, clock = datetime.now(UTC), time.perf_counter()
        state, reason = FINISHED, ""
        try:
            if len(self._todo):
                self._dance(config, start_workers)
        except KeyboardInterrupt:
            state = INTERRUPTED
        except InvalidInput:  # an option, such as an address where no Ray is
            raise
        except (ChoreoError, OSError) as error:
            state, reason = STOPPED, str(error)
        seconds = time.perf_counter() - clock
        call = {
            "began": began.isoformat(timespec="seconds"),
            "seconds": round(seconds, 3),
            "tried": self._tried,
            "items_per_s": round(self._tried / seconds, 4) if self._tried else 0.0,
            "state": state,
        }
        try:
            self._finish(document, call)
        except OSError as error:  # nothing is lost: the journal has it
            if state != STOPPED:
                state, reason = STOPPED, f"the results could not be written: {error}"
        left = self._found.items - int(self._journal.tried.sum())
        summary = {"state": state, "items": self._found.items, **self._journal.counts, "left": left, **call}
        summary |= {"state": state, "out": self._options.out, "results": f"{self._options.out}/{RESULTS}"}
        return summary | ({"reason": reason} if reason else {})

    def _dance(self, config: WorkerConfig, start_workers: StartWorkers) -> None:
        self._watcher.stage("starting")
        _sweep(self._store, self._todo)
        with start_workers(config) as workers:
            done = int(self._journal.tried.sum()) - int(self._journal.tried[self._todo].sum())
            failed = int(self._journal.failed.sum()) - int(self._journal.failed[self._todo].sum())
            self._watcher.begin(done + len(self._todo), done, failed)
            try:
                feed = Feed(workers, self._rows(), config.settings.batch_items, self._take)
                feed.run(self._journal.flush_if_due)
            finally:
                self._journal.flush()
        _sweep(self._store, self._todo)  # a worker may have been killed

    def _rows(self) -> Iterator[CatalogRow]:
        """The rows that are to be danced."""
        wanted = iter(self._todo.tolist())
        index = next(wanted, None)
        for row in self._catalog.rows():
            if index is None:
                return
            if row.index == index:
                yield row
                index = next(wanted, None)
        if index is not None:
            raise InvalidInput("catalog", "has become shorter while it was danced")

    def _take(self, outcome: Outcome) -> None:
        self._journal.append(outcome)
        self._tried += 1
        self._watcher.item(outcome.succeeded)

    def _finish(self, document: dict[str, Any], call: dict[str, Any]) -> None:
        """Write results.jsonl, errors.jsonl and run.json."""
        self._watcher.stage("writing the results")
        self._journal.flush()
        for name, only_failed in ((RESULTS, False), (ERRORS, True)):
            with self._store.writing(name) as file:
                file.writelines(self._journal.rows(only_failed))
        runs = [*document["runs"], call][-MAX_RUNS:]
        seconds, tried = sum(run["seconds"] for run in runs), sum(run["tried"] for run in runs)
        rate = round(tried / seconds, 4) if tried else 0.0
        counts = {"items": self._found.items, **self._journal.counts}
        manifest.write(self._store, document | {"counts": counts, "items_per_s": rate, "runs": runs})


def _sweep(store: Store, todo: NDArray[np.intp]) -> None:
    """Remove what a killed run left half-written where the items are that were not done."""
    if not isinstance(store, LocalStore):
        return
    for folder in np.unique(todo // PER_FOLDER):
        path = store.root / FOLDER / f"{folder:05d}"
        for part in path.glob(".*.part") if path.is_dir() else ():
            with suppress(OSError):
                part.unlink()


@contextmanager
def _ray_workers(config: WorkerConfig) -> Iterator[Workers]:
    """Actors in a Ray of this run's own, or on the settings' cluster."""
    from serving.batch.actors import RayWorkers
    from serving.ray.session import RaySession

    settings = config.settings
    with ExitStack() as stack:
        if settings.triton_url and not settings.ray_address:
            from serving.ray.stack import check_triton

            asyncio.run(check_triton(settings.triton_url))
        session = stack.enter_context(RaySession(settings.ray_address))
        workers = stack.enter_context(RayWorkers(session, config, settings.batch_workers))
        stack.callback(session.silence_logs)
        yield workers
