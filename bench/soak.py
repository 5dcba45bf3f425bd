"""A server under mixed callers for an hour: what it answers, and whether memory, files, threads or shared memory grow.

The server's saturated rate is measured first, with good requests only. Then callers arrive at random instants, together
at a share of that rate: 7 of 10 ask for a dance (to prompts and songs, in all formats that need no film), 2 send what
is broken, and 1 leaves before the answer. `beginning` and `end` are medians of the first and last eighth of the time;
growth is per hour, after the first quarter. Without `--url` a server is started, and stopped afterwards.
"""

import asyncio
import contextlib
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

import httpx
import numpy as np
import typer

from bench import soak_watch
from bench.command import benchmark, quick
from bench.fuzz import Target, broken_form, broken_json, leaving, wave
from bench.own_server import own_server
from bench.report import Row
from choreo.command_line import say
from choreo.errors import BackendUnavailable, InvalidInput

PATIENCE_S: Final = 150.0
USERS: Final = 16
"""Callers at a time while the saturated rate is measured."""
LOOKS: Final = 240
"""How often the processes are looked at, over the whole time."""
GOOD, BROKEN = 0.7, 0.2
"""Shares of the callers; the rest leave."""
PROMPTS: Final = ("a slow waltz", "a dancer performs a cha-cha", "someone walks in a circle", "hip hop, fast")
FORMATS: Final = ("json", "npz", "bvh")


@dataclass
class Found:
    """Answers by kind of caller and outcome, and seconds of the good ones."""

    answers: dict[str, Counter[str]] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)

    def count(self, kind: str, outcome: str) -> None:
        """Count one."""
        self.answers.setdefault(kind, Counter())[outcome] += 1


@benchmark
def main(
    minutes: Annotated[float, typer.Option(min=0.1, max=10_000, help="How long, after the rate is known.")] = 60.0,
    share: Annotated[float, typer.Option(min=0.05, max=2, help="Of the saturated rate.")] = 0.8,
    url: Annotated[str | None, typer.Option(help="Running server; omitted: one is started.")] = None,
    pid: Annotated[int | None, typer.Option(help="Process of `choreo serve` at the address.")] = None,
    seed: Annotated[int, typer.Option(help="Of when callers come and what they send.")] = 0,
    plot: Annotated[Path | None, typer.Option(help="PNG of memory over time.")] = None,
    quick: Annotated[bool, quick("two minutes")] = False,
) -> Iterator[Row]:
    """Answers, times, and growth of every process."""
    seconds = 120.0 if quick else 60 * minutes
    with contextlib.ExitStack() as stack:
        if url is None:
            url, pid = stack.enter_context(own_server())
        if pid is None:
            raise InvalidInput("pid", "give the process of the server that is at --url")
        address = urlsplit(url)
        if address.scheme != "http" or address.hostname is None:
            raise InvalidInput("url", f"must be http://host:port, got {url[:80]!r}")
        to, found = Target(address.hostname, address.port or 80, np.random.default_rng(seed), wave()), Found()
        rate = asyncio.run(saturated(url, to, min(20.0, seconds / 4)))
        say(f"{rate:.2f} requests a second at most; {share * rate:.2f} for {seconds / 60:g} minutes")
        watch = stack.enter_context(soak_watch.Watch(pid, max(seconds / LOOKS, 0.5)))
        asyncio.run(arrivals(url, to, found, share * rate, seconds))
    yield Row("good", "saturated rate", round(rate, 3), "requests a second")
    yield from answer_rows(found)
    yield from soak_watch.rows(watch.samples)
    if plot is not None:
        draw(watch.samples, plot)


def request(to: Target) -> dict[str, str | int | float | bool]:
    """A good request of at most ten seconds of dance; seeds and lengths vary, so that caches do not answer it all."""
    rng = to.rng
    return {
        "text_prompt": str(rng.choice(PROMPTS)), "duration": round(float(rng.uniform(1, 10)), 2), "preset": "draft",
        "seed": int(rng.integers(1 << 30)), "format": str(rng.choice(FORMATS)), "use_rag": bool(rng.random() < 0.8),
    }  # fmt: skip


async def good(client: httpx.AsyncClient, to: Target) -> str:
    """The status of a good request."""
    fields = request(to)
    if to.rng.random() < 0.7:
        answer = await client.post("/v1/generate", json=fields)
    else:
        form = {name: json.dumps(value) if isinstance(value, bool) else str(value) for name, value in fields.items()}
        answer = await client.post("/v1/generate", data=form, files={"audio": ("song.wav", to.song)})
    return str(answer.status_code)


async def saturated(url: str, to: Target, seconds: float) -> float:
    """Good requests a second, with many callers who ask again at once; the first fifth of the time is not counted."""
    done: list[float] = []
    began = time.monotonic()

    async def ask(client: httpx.AsyncClient) -> None:
        while time.monotonic() < began + seconds:
            status = await good(client, to)
            if status != "200":
                raise BackendUnavailable(f"the server answered {status} while its rate was measured")
            done.append(time.monotonic())

    async with _client(url) as client:
        await asyncio.gather(*(ask(client) for _ in range(USERS)))
    late = [at for at in done if at > began + seconds / 5]
    if len(late) < 2:
        raise BackendUnavailable("the server is too slow for its rate to be measured")
    return len(late) / (late[-1] - began - seconds / 5)


async def arrivals(url: str, to: Target, found: Found, rate: float, seconds: float) -> None:
    """Callers at random instants (a Poisson process), each doing what falls to them."""

    async def call(client: httpx.AsyncClient) -> None:
        kind, began = to.rng.random(), time.monotonic()
        try:
            async with asyncio.timeout(PATIENCE_S):
                if kind < GOOD:
                    name, outcome = "good", await good(client, to)
                elif kind < GOOD + BROKEN:
                    name = "broken"
                    outcome = await (broken_json if to.rng.random() < 0.5 else broken_form)(to)
                else:
                    name, outcome = "leaving", await leaving(to)
        except TimeoutError:
            name, outcome = "any", "no answer"
        except (OSError, httpx.HTTPError) as error:
            name, outcome = "any", type(error).__name__
        found.count(name, outcome)
        if (name, outcome) == ("good", "200"):
            found.seconds.append(time.monotonic() - began)

    end = time.monotonic() + seconds
    async with _client(url) as client, asyncio.TaskGroup() as callers:
        while time.monotonic() < end:
            callers.create_task(call(client))
            await asyncio.sleep(float(to.rng.exponential(1 / rate)))


def answer_rows(found: Found) -> Iterator[Row]:
    """Counts by caller, and how long good requests took."""
    for kind, counts in sorted(found.answers.items()):
        for outcome, count in sorted(counts.items()):
            yield Row(kind, outcome, count, "callers")
    for name, percent in (("p50", 50), ("p95", 95), ("p99", 99)):
        if found.seconds:
            yield Row("good", name, round(float(np.percentile(found.seconds, percent)), 3), "s")


def draw(samples: list[soak_watch.Sample], path: Path) -> None:
    """Plot the memory of each part over time."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.add_subplot()
    for part in sorted({part for sample in samples for part, key in sample.of if key == "memory"} - {soak_watch.ALL}):
        times, values = soak_watch.series(samples, part, "memory")
        if len(times) >= len(samples) / 2:
            axes.plot(times / 60, values, label=part)
    axes.set(xlabel="minutes", ylabel="memory, MiB", ylim=(0, None), title="Memory under mixed callers")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper")
    figure.savefig(path, dpi=120)


def _client(url: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=url, timeout=PATIENCE_S, trust_env=False, limits=httpx.Limits(max_connections=256)
    )


if __name__ == "__main__":
    sys.exit(main())
