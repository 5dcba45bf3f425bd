"""What asynchronous jobs cost: submissions a second, and time per request next to `POST /v1/generate`.

A server in this process answers over HTTP on this machine. Its stages are simulated and take no time, so that what is
measured is everything else: HTTP, validation, admission, and for jobs the database and the spool. `generate/N` sends N
requests with as many users as jobs have places; `job/N` submits them as one job and waits for its end. `overhead_ms` is
the difference per request; the users, who share the processor with the server, are on the side of `generate`.
`times_smallest` is the time per request of a job next to that of the smallest one: 1 where the size does not matter.
Values are medians over rounds, in which the two take turns.

Jobs are kept in SQLite, and in PostgreSQL: in the database that `--database-url` names, in schemas of the benchmark's
own, else in one that is started for it. Both force every commit to disk.
"""

import asyncio
import secrets
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

import httpx
import numpy as np
import typer

from bench.command import ROUNDS, benchmark, quick
from bench.instant_stages import instant_stages
from bench.postgres_server import postgres, postgres_programs
from bench.report import Row, skipped
from choreo.command_line import numbers, say
from choreo.errors import BackendUnavailable, InvalidInput
from serving.http.ingress import create_app
from serving.http.server import HttpServer
from serving.pipeline.contracts import Stages
from serving.settings import Settings

PROMPTS: Final = ("a slow waltz", "a dancer performs a cha-cha", "salsa, with turns", "hip hop, fast")
STEPS: Final = 4
DURATION_S: Final = 1.0
LOOK_S: Final = 0.25
"""Time between looks at a job; each costs milliseconds of the processor that is measured. It says when it has ended."""
PATIENCE_S: Final = 600.0
LISTS: Final = (1, 100)
"""Requests of the jobs whose submission is timed."""
SQLITE, POSTGRESQL = "sqlite", "postgresql"


@benchmark
def main(
    items: Annotated[str | None, typer.Option(help="Requests, separated by commas; default 100,1000,5000.")] = None,
    seconds: Annotated[float | None, typer.Option(min=0.1, max=600, help="Submitting, per size; default 5.")] = None,
    rounds: Annotated[int, ROUNDS] = 3,
    databases: Annotated[str, typer.Option(help="Which, separated by commas.")] = f"{SQLITE},{POSTGRESQL}",
    database_url: Annotated[str, typer.Option(help="PostgreSQL database; omitted: one is started.")] = "",
    quick: Annotated[bool, quick("one round of 50 requests, and a second of submissions")] = False,
) -> Iterator[Row]:
    """Submissions, and overhead per request."""
    counts = numbers("items", items or ("50" if quick else "100,1000,5000"), 1, 100_000)
    lasting = seconds or (1.0 if quick else 5.0)
    turns = 1 if quick else rounds
    wanted = databases.split(",")
    if not set(wanted) <= {SQLITE, POSTGRESQL}:
        raise InvalidInput("databases", f"must be {SQLITE}, {POSTGRESQL} or both, got {databases[:64]!r}")
    for name in wanted:
        with ExitStack() as stack:
            url = ""
            if name == POSTGRESQL:
                programs = postgres_programs()
                if not database_url and programs is None:
                    yield skipped(name, "PostgreSQL is not installed")
                    continue
                url = database_url or stack.enter_context(postgres(programs or Path(), durable=True))
            for row in _measured(url, counts, lasting, turns):
                yield replace(row, case=f"{name} {row.case}")


def _measured(url: str, counts: Sequence[int], lasting: float, rounds: int) -> Iterator[Row]:
    """Everything, in the database of an address, or in SQLite."""
    common: dict[str, Any] = {"max_waiting_jobs": 1_000_000}
    for size in LISTS:
        say(f"submitting jobs of {size}")
        settings = Settings(**common, job_concurrency=1)
        yield from _run(
            url, instant_stages(stuck=True), settings, partial(Measured.submissions, size=size, seconds=lasting)
        )
    smallest: float | None = None
    for count in counts:
        say(f"{count} requests")
        settings = Settings(**common, max_job_requests=count)
        rows = _run(url, instant_stages(), settings, partial(Measured.overhead, count=count, rounds=rounds))
        yield from rows
        case = f"job/{count}"
        (each,) = (row.value for row in rows if (row.case, row.metric) == (case, "ms_per_request"))
        if smallest is not None and each is not None:
            yield Row(case, "times_smallest", each / smallest, "x")
        smallest = smallest or each


class Measured:
    """A server that is up, and its client."""

    def __init__(self, client: httpx.AsyncClient, settings: Settings) -> None:
        self._client, self._settings = client, settings

    async def submissions(self, size: int, seconds: float) -> list[Row]:
        """Jobs of so many requests that one caller submits a second, while none but the first request is worked on."""
        await self._submit(size)  # tables are made
        took: list[float] = []
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            began = time.perf_counter()
            await self._submit(size)
            took.append(time.perf_counter() - began)
        rate = len(took) / sum(took)
        return [
            Row(f"submit/{size}", "jobs_per_s", rate, "jobs/s"),
            Row(f"submit/{size}", "requests_per_s", size * rate, "requests/s"),
            Row(f"submit/{size}", "median_ms", 1e3 * float(np.median(took)), "ms"),
        ]

    async def overhead(self, count: int, rounds: int) -> list[Row]:
        """Milliseconds per request of both ways, wall clock and processor."""
        await self._answered(self._settings.job_concurrency)
        await self._danced(1)  # everything is imported, and threads and connections are there
        ways = {"generate": self._answered, "job": self._danced}
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for number in range(rounds):
            for name in ways if number % 2 == 0 else reversed(ways):
                began, cpu = time.time(), time.process_time()
                ended = await ways[name](count)
                spent = ended - began, time.process_time() - cpu
                found[name].append((1e3 * spent[0] / count, 1e3 * spent[1] / count))
        rows = []
        for name, values in found.items():
            wall_ms, cpu_ms = np.median(values, axis=0)
            rows += [
                Row(f"{name}/{count}", "ms_per_request", float(wall_ms), "ms"),
                Row(f"{name}/{count}", "cpu_ms_per_request", float(cpu_ms), "ms"),
            ]
        more = np.median(np.subtract(found["job"], found["generate"]), axis=0)
        rows.append(Row(f"job/{count}", "overhead_ms", float(more[0]), "ms"))
        rows.append(Row(f"job/{count}", "cpu_overhead_ms", float(more[1]), "ms"))
        return rows

    async def _submit(self, size: int) -> str:
        answer = await self._client.post("/v1/jobs", json={"requests": [_body(i) for i in range(size)]})
        if answer.status_code != 202:
            raise BackendUnavailable(f"a job was answered with {answer.status_code}: {answer.text[:200]}")
        return str(answer.json()["id"])

    async def _danced(self, count: int) -> float:
        """A job from its submission to its end; when that was, in seconds since 1970."""
        job = await self._submit(count)
        while (found := (await self._client.get(f"/v1/jobs/{job}")).json())["state"] in ("queued", "running"):
            await asyncio.sleep(LOOK_S)
        if found["counts"]["succeeded"] != count:
            raise BackendUnavailable(f"requests of a job failed: {found['counts']}")
        return datetime.fromisoformat(found["ended_at"]).timestamp()

    async def _answered(self, count: int) -> float:
        """The same requests, each of which somebody waits for; when the last one was answered."""
        left = iter(range(count))

        async def user() -> None:
            for i in left:
                (await self._client.post("/v1/generate", json=_body(i))).raise_for_status()

        await asyncio.gather(*(user() for _ in range(self._settings.job_concurrency)))
        return time.time()


def _run(
    url: str, stages: Stages, settings: Settings, measure: Callable[[Measured], Coroutine[Any, Any, list[Row]]]
) -> list[Row]:
    async def run() -> list[Row]:
        with tempfile.TemporaryDirectory(prefix="choreo-bench-") as folder, _empty(url) as own:
            given = settings.model_copy(update={"data_dir": Path(folder), "jobs_url": own})
            async with _server(stages, given) as server:
                return await measure(server)

    return asyncio.run(run())


@contextmanager
def _empty(url: str) -> Iterator[str]:
    """The address of a database in which no jobs are, not even those of the measurement before."""
    if not url:
        yield ""
        return
    import psycopg
    from psycopg.sql import SQL, Identifier

    schema, plain = f"choreo_bench_{secrets.token_hex(4)}", url.replace("+psycopg", "", 1)
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute(SQL("CREATE SCHEMA {}").format(Identifier(schema)))
        try:
            yield f"{url}{'&' if '?' in url else '?'}options=-csearch_path%3D{schema}"
        finally:
            connection.execute(SQL("DROP SCHEMA {} CASCADE").format(Identifier(schema)))


@asynccontextmanager
async def _server(stages: Stages, settings: Settings) -> AsyncIterator[Measured]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    app = create_app(settings, stages)
    server = HttpServer(app, "127.0.0.1", port, settings, patience_s=1)
    await server.start()
    try:
        url = f"http://127.0.0.1:{port}"
        async with httpx.AsyncClient(base_url=url, timeout=PATIENCE_S, trust_env=False) as client:
            yield Measured(client, settings)
    finally:
        await app.state.jobs.close()
        await server.stop()


def _body(number: int) -> dict[str, Any]:
    return {
        "text_prompt": PROMPTS[number % len(PROMPTS)],
        "num_steps": STEPS,
        "duration": DURATION_S,
        "use_rag": False,
        "format": "npz",
        "seed": number,
    }


if __name__ == "__main__":
    sys.exit(main())
