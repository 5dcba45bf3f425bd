"""More callers than a server can answer: who is refused, how soon, and whether the others have their dance in time.

The saturated rate is measured first. Then callers arrive at random instants at multiples of it, whatever became of
those before them, and each says by `timeout` how long it waits.
"""

import asyncio
import contextlib
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Final
from urllib.parse import urlsplit

import httpx
import numpy as np
import typer

from bench.command import benchmark, quick
from bench.fuzz import Target, wave
from bench.own_server import own_server
from bench.report import Row
from bench.soak import request, saturated
from choreo.command_line import numbers, say
from choreo.errors import InvalidInput

RATE_S: Final = 20.0
"""How long the saturated rate is measured."""
CONNECTIONS: Final = 1000
PATIENCE_S: Final = 30.0
"""Seconds beyond a caller's own timeout, after which its connection is given up."""


@dataclass
class Answers:
    """Seconds to each answer by status, counted from the instant at which the caller arrived."""

    of: dict[str, list[float]] = field(default_factory=dict)

    def add(self, status: str, seconds: float) -> None:
        """Take one."""
        self.of.setdefault(status, []).append(seconds)


@benchmark
def main(
    loads: Annotated[str, typer.Option(help="Multiples of the saturated rate, each for itself.")] = "1,2,4",
    seconds: Annotated[float, typer.Option(min=1, max=3600, help="How long callers arrive, for each.")] = 60.0,
    timeout: Annotated[float, typer.Option(min=0.1, max=600, help="Seconds that a caller waits.")] = 30.0,
    url: Annotated[str | None, typer.Option(help="Running server; omitted: one is started.")] = None,
    seed: Annotated[int, typer.Option(help="Of when callers come and what they ask for.")] = 0,
    quick: Annotated[bool, quick("ten seconds at four times the rate")] = False,
) -> Iterator[Row]:
    """Answers by load and status."""
    multiples = [4.0] if quick else numbers("loads", loads, 0.1, 100.0)
    seconds = 10.0 if quick else seconds
    with contextlib.ExitStack() as stack:
        if url is None:
            url, _ = stack.enter_context(own_server())
        address = urlsplit(url)
        if address.scheme != "http" or address.hostname is None:
            raise InvalidInput("url", f"must be http://host:port, got {url[:80]!r}")
        to = Target(address.hostname, address.port or 80, np.random.default_rng(seed), wave())
        rate = asyncio.run(saturated(url, to, min(RATE_S, seconds)))
        say(f"{rate:.2f} requests a second at most")
        yield Row("saturated", "rate", round(rate, 3), "requests a second")
        for multiple in multiples:
            say(f"{multiple:g} times that for {seconds:g} s")
            answers = asyncio.run(arrivals(url, to, multiple * rate, seconds, timeout))
            yield from _rows(f"{multiple:g} x", answers, seconds, timeout)


async def arrivals(url: str, to: Target, rate: float, seconds: float, timeout: float) -> Answers:
    """Callers at random instants (a Poisson process), none of whom waits for another."""
    found = Answers()

    async def call(client: httpx.AsyncClient) -> None:
        fields, began = request(to) | {"timeout": timeout}, time.monotonic()
        try:
            status = str((await client.post("/v1/generate", json=fields)).status_code)
        except httpx.HTTPError as error:
            status = type(error).__name__
        found.add(status, time.monotonic() - began)

    limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
    client = httpx.AsyncClient(base_url=url, timeout=timeout + PATIENCE_S, trust_env=False, limits=limits)
    end = time.monotonic() + seconds
    async with client, asyncio.TaskGroup() as callers:
        while time.monotonic() < end:
            callers.create_task(call(client))
            await asyncio.sleep(float(to.rng.exponential(1 / rate)))
    return found


def _rows(case: str, answers: Answers, seconds: float, timeout: float) -> Iterator[Row]:
    for status, times in sorted(answers.of.items()):
        yield Row(case, status, len(times), "callers")
        for name, percent in (("p50", 50), ("p99", 99)):
            yield Row(case, f"{status}, {name}", round(1000 * float(np.percentile(times, percent)), 1), "ms")
    accepted = answers.of.get("200", [])
    yield Row(case, "answered within their timeout", sum(time <= timeout for time in accepted), "callers")
    yield Row(case, "answered", round(len(accepted) / seconds, 3), "callers a second of arrivals")


if __name__ == "__main__":
    sys.exit(main())
