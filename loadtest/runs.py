"""Carries out the runs of a load test one after the other, each with its file of samples."""

import asyncio
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from loadtest.arrivals import poisson
from loadtest.figures import Figures, Window, figures
from loadtest.http_client import HttpClient
from loadtest.locust_process import LocustPlan, run_users
from loadtest.open_loop import open_loop
from loadtest.options import Options
from loadtest.progress import Progress
from loadtest.samples import Sample, SampleLog, read_samples
from loadtest.scenarios import Requests, requests_of
from loadtest.sending import Clock, clock_from_now

PROGRESS_S: Final = 1.0


@dataclass(frozen=True)
class Run:
    """A complete or interrupted run.

    Attributes:
        rate: requested arrivals per second; None in a closed loop.
        samples: one per request, including the warm-up.
        path: file of the samples.
    """

    rate: float | None
    window: Window
    samples: list[Sample]
    figures: Figures
    path: Path


@dataclass
class Interruption:
    """The signal that asked the test to end, if any."""

    stop: asyncio.Event = field(default_factory=asyncio.Event)
    number: int | None = None

    def on(self, number: int) -> None:
        """Handle a signal."""
        self.number = number
        self.stop.set()


async def carry_out(options: Options) -> tuple[list[Run], int | None]:
    """Make the runs. SIGINT and SIGTERM end the current run and skip the remaining ones.

    Returns:
        The runs, and the signal that ended them, if any.

    Raises:
        BackendUnavailable: no server answers at the address.
        ChoreoError: the process of the users failed.
        OSError: the samples cannot be written.
    """
    interruption, loop = Interruption(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interruption.on, number)
    async with HttpClient(options.url, options.timeout_s) as client:
        await client.probe()
        options.out.mkdir(parents=True, exist_ok=True)
        runs = []
        if not options.rates:
            runs.append(await _closed(options, interruption.stop))
        requests = requests_of(options.scenario, options.seed) if options.rates else None
        for rate in options.rates:
            if requests is None or interruption.stop.is_set():
                break
            runs.append(await _open(options, rate, client, requests, interruption.stop))
    return runs, interruption.number


async def _open(options: Options, rate: float, client: HttpClient, requests: Requests, stop: asyncio.Event) -> Run:
    path = options.out / f"samples-rate-{rate:g}.jsonl"
    arrivals = poisson(rate, options.seconds, options.seed)
    with SampleLog(path) as log, Progress() as progress:
        clock = clock_from_now()
        ticker = asyncio.create_task(_tick(progress, log, f"rate {rate:g}: ", clock))
        try:
            samples = await open_loop(
                client.send, requests, arrivals, log.add, options.max_in_flight, stop=stop, clock=clock
            )
        finally:
            ticker.cancel()
    return _run(options, f"{rate:g}/s", rate, samples, path, clock() if stop.is_set() else options.seconds)


async def _tick(progress: Progress, log: SampleLog, label: str, clock: Clock) -> None:
    while True:
        progress.show(label + log.progress(clock()))
        await asyncio.sleep(PROGRESS_S)


async def _closed(options: Options, stop: asyncio.Event) -> Run:
    path = options.out / f"samples-users-{options.users}.jsonl"
    plan = LocustPlan(
        url=options.url,
        scenario=options.scenario,
        seed=options.seed,
        users=options.users,
        spawn_rate=options.spawn_rate,
        seconds=options.seconds,
        timeout_s=options.timeout_s,
        samples=str(path.absolute()),
        page_port=options.page_port,
    )
    await run_users(plan, stop)
    samples = read_samples(path) if path.exists() else []
    last = max((s.ended or s.started or 0 for s in samples), default=0.0)
    label = f"{options.users} user{'s' if options.users > 1 else ''}"
    return _run(options, label, None, samples, path, last if stop.is_set() else options.seconds)


def _run(options: Options, label: str, rate: float | None, samples: list[Sample], path: Path, end: float) -> Run:
    window = Window(options.warm_up, max(min(end, options.seconds), options.warm_up))
    return Run(rate, window, samples, figures(label, samples, window, options.objective_s), path)
