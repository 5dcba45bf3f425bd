"""Dances items by a running server: which of its errors are an item's own, which pass, and which end the run."""

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from http import HTTPStatus
from typing import Any, Final, cast

from choreo.client import AsyncClient, Dance, Retries
from choreo.errors import (
    AccessDenied,
    BackendUnavailable,
    ChoreoError,
    ConnectionLost,
    DeadlineExceeded,
    InvalidInput,
    NotFound,
    Overloaded,
    ServerFailed,
    UnexpectedAnswer,
)
from choreo.motion.formats.formats import Format, encode
from serving.batch.adaptive_limit import AdaptiveLimit
from serving.batch.catalog import CatalogRow
from serving.batch.config import WorkerConfig
from serving.batch.feed import Done
from serving.batch.items import SONGS, Item, item_of, names_files
from serving.batch.names import file_name
from serving.batch.outcome import Outcome, RunStopped, failure, stops_run, success
from serving.batch.rig_format import with_rig
from serving.batch.server_facts import ServerFacts, facts_of
from serving.util.threads import Threads

THREADS: Final = 4
TRIES: Final = 3
"""Of a dance that the server did not finish in the time that it had."""
ONCE: Final = Retries(busy=0, lost=0)
"""Of the client: what is tried again is decided here, for all items together."""
FIRST_PAUSE_S: Final = 0.5
MAX_PAUSE_S: Final = 15.0
"""Between questions whether a server that was away is back."""
Give = Callable[[Sequence[Done] | Exception], None]


class RemoteWorker:
    """Dances items through one server, and writes their files.

    Args:
        config: limits, and where files are read and written.
        client: of the server; it repeats nothing by itself.
        facts: what the server was when the run began, and must stay.
        give: takes what became of rows, or why the run cannot go on.
    """

    def __init__(self, config: WorkerConfig, client: AsyncClient, facts: ServerFacts, give: Give) -> None:
        self._config, self._client, self._facts, self._give = config, client, facts, give
        self._limit = AdaptiveLimit(config.settings.batch_items)
        self._songs = asyncio.Semaphore(SONGS)
        self._threads = Threads(THREADS)
        self._back: asyncio.Task[bool] | None = None
        self._lost: list[CatalogRow] = []
        self._answered_at = -1.0

    def close(self) -> None:
        """End the question whether the server is back, and the threads when what they write is written. Blocking."""
        if self._back is not None:
            self._back.cancel()
        self._threads.close(wait=True)

    async def dance(self, row: CatalogRow) -> None:
        """Dance one item; its files are durable when its outcome is given."""
        try:
            try:
                outcome = await self._outcome(row)
            except ConnectionLost as error:
                self._lost.append(row)
                await self._was_away(error)
                # All that were lost together are given together: it was one death of the server.
                rows, self._lost = self._lost, []
                if rows:
                    self._give([Done([lost], None) for lost in rows])
                return
        except Exception as error:
            self._give(error if isinstance(error, RunStopped) else RunStopped(str(error)))
            return
        self._give([Done([row], [outcome])])

    async def _outcome(self, row: CatalogRow) -> Outcome:
        config = self._config
        try:
            async with self._songs if names_files(row) else nullcontext():
                item = await self._threads.run(item_of, row, config.defaults, config.reader, config.settings)
                item = replace(item, formats=with_rig(item.formats, config.character))
                files, meta = await self._files(item)
        except (RunStopped, ConnectionLost):
            raise
        except _RefusedForGood as refused:
            return failure(row, refused.error)
        except Exception as error:  # whatever it is, the other items go on
            if stops_run(error):
                raise RunStopped(str(error)) from error
            return failure(row, error)
        names = {}
        for fmt, data in files.items():
            names[fmt.name] = file_name(row.index, row.custom_id, fmt.suffix)
            await self._threads.run(self._write, names[fmt.name], data)
        return success(row, names, meta)

    async def _files(self, item: Item) -> tuple[dict[Format, bytes], dict[str, Any]]:
        """The files of an item, and its metadata.

        One dance is asked for as .npz, which is exact, and written here in all formats but films: those come from the
        server, which makes the same dance for each.
        """
        films = [fmt for fmt in item.formats if fmt.needs_audio]
        files: dict[Format, bytes] = {}
        meta: dict[str, Any] = {}
        if len(films) < len(item.formats):
            dance = await self._asked(item, Format.NPZ)
            if not self._facts.made(dance.meta):
                raise RunStopped("the server has another phrase library than when this run began")
            files, meta = await self._threads.run(_written, dance, [fmt for fmt in item.formats if fmt not in films])
        for fmt in films:
            dance = await self._asked(item, fmt)
            files[fmt], meta = dance.content, meta or {"seed": dance.seed, "notes": list(dance.notes)}
        return {fmt: files[fmt] for fmt in item.formats}, meta

    async def _asked(self, item: Item, fmt: Format) -> Dance:
        """One dance in one format, however long the server is busy or away within the run's patience.

        Raises:
            ConnectionLost: the connection ended before the answer; whether the item was the cause is
                found out by the feed.
            RunStopped: the server is away, busy or of no use for too long.
            ChoreoError: the server refused the request.
        """
        clock, late = asyncio.get_running_loop().time, 0
        busy: float | None = None  # since when the server has had too much to do for it
        refused: float | None = None  # since when it has been refused although the server was ready
        while True:
            async with self._limit.place() as round_:
                try:
                    dance = await self._request(item, fmt)
                except (ConnectionLost, RunStopped):
                    raise
                except (Overloaded, DeadlineExceeded) as caught:
                    error: ChoreoError = caught
                    self._limit.refused(round_, _pause_s(error))
                except ChoreoError as caught:
                    error = caught
                    if not _passes(error):
                        self._answered()
                        raise
                else:
                    self._answered()
                    return dance
            if isinstance(error, Overloaded):
                busy, refused = clock() if busy is None else busy, None
                self._check_patience(busy, error)
            elif isinstance(error, DeadlineExceeded):
                late += 1
                if late == TRIES:
                    raise error
            else:
                busy, refused = None, clock() if refused is None else refused
                self._check_others(refused, error)
                refused = None if await self._was_away(error) else refused

    def _answered(self) -> None:
        self._answered_at = asyncio.get_running_loop().time()
        self._limit.answered()

    async def _request(self, item: Item, fmt: Format) -> Dance:
        fields = {name: value for name, value in item.values.items() if name not in ("format", "timeout")}
        text, seed = fields.pop("text_prompt", None), fields.pop("seed")
        files, patience_s = item.files, self._config.settings.max_timeout_s
        features = cast(bytes | None, files.features)
        start, end, clip = (cast(bytes | None, given) for given in (files.start, files.end, files.clip))
        try:
            return await self._client.generate(
                text, song=files.audio, features=features, start=start, end=end, clip=clip, seed=seed,
                format=fmt.name, timeout_s=patience_s, **({"priority": "bulk"} | fields),
            )  # fmt: skip
        except InvalidInput as error:
            if error.field == "timeout":
                reason = "set CHOREO_MAX_TIMEOUT_S to what the server has"
                raise RunStopped(f"the server does not take so long for a dance ({error.message}); {reason}") from error
            raise

    async def _was_away(self, error: ChoreoError) -> bool:
        """Wait until the server is ready; all that wait share one probe. Whether it was not ready at first.

        Args:
            error: what it answered, or did not.

        Raises:
            RunStopped: it has not been ready for too long, or is another one than before.
        """
        if self._back is None or self._back.done():
            self._back = asyncio.create_task(self._until_ready(error))
        return await asyncio.shield(self._back)

    async def _until_ready(self, error: ChoreoError) -> bool:
        clock, patience_s = asyncio.get_running_loop().time, self._config.settings.batch_patience_s
        began, pause, asked = clock(), _pause_s(error), 0
        while clock() - began < patience_s:
            await asyncio.sleep(min(pause, patience_s))
            pause = min(2 * max(pause, FIRST_PAUSE_S) * random.uniform(0.8, 1.2), MAX_PAUSE_S)
            asked += 1
            if await self._ready():
                return asked > 1
        raise RunStopped(f"the server has not answered for {clock() - began:.0f} s: {error}")

    async def _ready(self) -> bool:
        """Whether the server is ready, and still the one that it was."""
        try:
            if not await self._client.ready():
                return False
        except ChoreoError:
            pass  # a gateway does not show /readyz; what follows will tell
        try:
            facts = await facts_of(self._client)
        except AccessDenied as error:
            raise RunStopped(str(error)) from error
        except ChoreoError:
            return False
        if changed := self._facts.changed(facts):
            raise RunStopped(f"the server came back with another {changed} than it had when this run began")
        return True

    def _check_patience(self, since: float, error: ChoreoError) -> None:
        """Raise unless requests are under way, or were answered within the patience."""
        waited_s = asyncio.get_running_loop().time() - max(since, self._answered_at)
        if not self._limit.under_way and waited_s >= self._config.settings.batch_patience_s:
            raise RunStopped(f"the server has taken no item for {waited_s:.0f} s: {error}")

    def _check_others(self, since: float, error: ChoreoError) -> None:
        """Raise where an item has been refused throughout the patience by a server that was ready."""
        waited_s = asyncio.get_running_loop().time() - since
        if waited_s <= self._config.settings.batch_patience_s:
            return
        if self._answered_at > since:
            raise _RefusedForGood(error)
        raise RunStopped(f"the server has refused everything for {waited_s:.0f} s: {error}")

    def _write(self, name: str, data: bytes) -> None:
        try:
            self._config.store.write(name, data)
        except Exception as error:  # file systems of others have errors of their own
            raise RunStopped(f"{name} could not be written: {error}") from error


class _RefusedForGood(Exception):
    """The server goes on answering others, but not this item."""

    def __init__(self, error: ChoreoError) -> None:
        super().__init__(error)
        self.error = error


def _passes(error: ChoreoError) -> bool:
    """Whether an error may pass by itself, since it is no answer of a server that is well."""
    if isinstance(error, ServerFailed) and error.answer is not None:
        # What ends while it works says 500 and no more, and so do gateways; a server that is well names the problem.
        return not error.answer.kind or error.answer.status == HTTPStatus.INSUFFICIENT_STORAGE
    return isinstance(error, BackendUnavailable | NotFound | UnexpectedAnswer)


def _pause_s(error: ChoreoError | None) -> float:
    """Seconds before the next attempt: those that the server asked for, with jitter."""
    asked = None if error is None or error.answer is None else error.answer.retry_after_s
    return Retries(first_s=FIRST_PAUSE_S).pause(0, asked, random.random())


def _written(dance: Dance, formats: Sequence[Format]) -> tuple[dict[Format, bytes], dict[str, Any]]:
    """A dance in several formats, and its metadata. Blocking."""
    assert dance.performance is not None  # it was asked for as npz
    # How many rows were evaluated depends on what the server had encoded before, and the files must not.
    meta = {name: value for name, value in dance.meta.items() if name != "rows"}
    performance = replace(dance.performance, meta=meta)
    files = {fmt: encode(performance, fmt) for fmt in formats}
    return files, meta | {"num_frames": performance.num_frames, "fps": performance.fps}
