"""The command line of `choreo loadtest`, checked."""

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from choreo.errors import InvalidInput
from loadtest.open_loop import MAX_IN_FLIGHT
from loadtest.scenarios import Scenario
from loadtest.thresholds import Thresholds

MAX_ARRIVALS: Final = 5_000_000
"""Of one run: they are drawn before it begins, and their samples are kept until its end."""
MAX_USERS: Final = 10_000
MAX_RATES: Final = 50
DAY_S: Final = 86_400.0
SHARE: Final = (0.0, 1.0)
EPILOG: Final = """exit codes: 0 every threshold was kept; 1 one was missed, or the run could not be made; 2 bad input;
3 the generator was late, so that the numbers are not trustworthy; 128 and the signal's number when it was stopped.
A run that is stopped still writes its report."""


@dataclass(frozen=True)
class Options:
    """What to run.

    Attributes:
        rates: arrivals per second of open loops, one after the other; empty: one closed loop.
        users, spawn_rate: of the closed loop.
        seconds, warm_up: length of each run, and what of it is left out of the figures.
        timeout_s: after that an answer is no longer waited for.
        objective_s: latency within which a request counts as good; None: none.
        max_lag_s: see `loadtest.thresholds.distrusted`.
        page_port: of locust's page; None: no page.
        out: folder of the results, not there yet or empty.
    """

    url: str
    scenario: Scenario
    seed: int
    rates: tuple[float, ...]
    users: int
    spawn_rate: float
    seconds: float
    warm_up: float
    timeout_s: float
    max_in_flight: int
    objective_s: float | None
    max_lag_s: float
    thresholds: Thresholds
    page_port: int | None
    out: Path
    as_json: bool


def parse(argv: Sequence[str]) -> Options:
    """Options of a command line; what argparse itself refuses ends the process with 2, as its help does with 0.

    Raises:
        InvalidInput: a value is out of range, or options contradict each other.
    """
    given = _parser().parse_args(argv)
    for name, low, high in (
        ("seconds", 0.1, DAY_S), ("warm_up", 0, DAY_S), ("timeout", 0.1, DAY_S), ("max_in_flight", 1, 100_000),
        ("seed", 0, 2**63 - 1), ("users", 1, MAX_USERS), ("spawn_rate", 0.01, MAX_USERS), ("slo", 0.001, DAY_S),
        ("max_lag", 0.0001, 60), ("p50", 0, DAY_S), ("p95", 0, DAY_S), ("p99", 0, DAY_S), ("min_throughput", 0, 1e6),
        ("error_rate", *SHARE), ("shed_rate", *SHARE), ("drop_rate", *SHARE), ("web_port", 1, 65535),
    ):  # fmt: skip
        _between(name, getattr(given, name), low, high)
    if given.warm_up >= given.seconds:
        raise InvalidInput("warm-up", f"must be shorter than the {given.seconds:g} seconds of the run")
    rates = _rates(given)
    if rates and (given.web or given.users is not None):
        raise InvalidInput("rate", "is of an open loop, which has neither users nor locust's page")
    return Options(
        url=_url(given.url),
        scenario=Scenario(given.scenario),
        seed=given.seed,
        rates=rates,
        users=given.users or 1,
        spawn_rate=given.spawn_rate,
        seconds=given.seconds,
        warm_up=given.warm_up,
        timeout_s=given.timeout,
        max_in_flight=given.max_in_flight,
        objective_s=given.slo,
        max_lag_s=given.max_lag,
        thresholds=Thresholds(
            given.p50, given.p95, given.p99, given.error_rate, given.shed_rate, given.drop_rate, given.min_throughput
        ),
        page_port=given.web_port if given.web else None,
        out=_out(given.out),
        as_json=given.json,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="choreo loadtest", description="Load a running server and say how it bore it.", epilog=EPILOG
    )
    parser.add_argument("url", help="server, e.g. http://127.0.0.1:8000")
    parser.add_argument("--scenario", choices=list(Scenario), default=Scenario.INTERACTIVE, help="what is asked for")
    parser.add_argument("--seconds", type=float, default=60.0, help="length of each run (%(default)g)")
    parser.add_argument("--warm-up", type=float, default=0.0, help="seconds of it that do not count (%(default)g)")
    parser.add_argument("--seed", type=int, default=0, help="of requests and arrivals (%(default)d)")
    parser.add_argument("--timeout", type=float, default=150.0, help="seconds to wait for an answer (%(default)g)")
    parser.add_argument("--out", type=Path, help="folder for samples and reports (out/loadtest-DATE)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")

    opened = parser.add_argument_group("open loop: requests arrive whatever became of those before")
    opened.add_argument("--rate", type=float, help="mean arrivals per second, a Poisson process")
    opened.add_argument("--rates", help="several between commas, one run after the other")
    opened.add_argument("--max-in-flight", type=int, default=MAX_IN_FLIGHT, help="more are dropped (%(default)d)")

    closed = parser.add_argument_group("closed loop, when no rate is given: locust users, each with one request")
    closed.add_argument("--users", type=int, help="how many (1)")
    closed.add_argument("--spawn-rate", type=float, default=10.0, help="users that begin per second (%(default)g)")
    closed.add_argument("--web", action="store_true", help="show locust's page while it runs")
    closed.add_argument("--web-port", type=int, default=8089, help="of the page, on this machine only (%(default)d)")

    bounds = parser.add_argument_group("thresholds: exit with 1 if a run misses one")
    for name in ("p50", "p95", "p99"):
        bounds.add_argument(f"--{name}", type=float, metavar="SECONDS", help="largest latency")
    bounds.add_argument("--error-rate", type=float, default=0.0, metavar="SHARE", help="largest (%(default)g)")
    bounds.add_argument("--shed-rate", type=float, metavar="SHARE", help="largest share turned away")
    bounds.add_argument("--drop-rate", type=float, default=0.0, metavar="SHARE", help="largest, unsent (%(default)g)")
    bounds.add_argument("--min-throughput", type=float, metavar="N", help="served requests per second")
    bounds.add_argument("--slo", type=float, metavar="SECONDS", help="latency of a good request, for goodput")
    bounds.add_argument(
        "--max-lag", type=float, default=0.05, metavar="SECONDS", help="how late 99 in 100 may start (%(default)g)"
    )
    return parser


def _rates(given: argparse.Namespace) -> tuple[float, ...]:
    if given.rate is not None and given.rates is not None:
        raise InvalidInput("rates", "give one rate or several, not both")
    if given.rate is None and given.rates is None:
        return ()
    try:
        rates = (given.rate,) if given.rates is None else tuple(map(float, given.rates.split(",")))
    except ValueError as error:
        raise InvalidInput("rates", f"must be numbers between commas, got {given.rates[:64]!r}") from error
    if len(rates) > MAX_RATES or len(set(rates)) != len(rates):
        raise InvalidInput("rates", f"must be at most {MAX_RATES} different numbers")
    for rate in rates:
        _between("rate", rate, 1e-3, MAX_ARRIVALS / given.seconds)
    return rates


def _between(name: str, value: float | None, low: float, high: float) -> None:
    if value is not None and not (math.isfinite(value) and low <= value <= high):
        raise InvalidInput(name.replace("_", "-"), f"must be between {low:g} and {high:g}, got {value:g}")


def _url(text: str) -> str:
    try:
        parts = urlsplit(text)
        right = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        right = False
    if not right or parts.query or parts.fragment or parts.username is not None:
        raise InvalidInput("url", f"must be the http or https address of a server, got {text[:200]!r}")
    return text.rstrip("/")


def _out(folder: Path | None) -> Path:
    if folder is None:
        return Path("out") / f"loadtest-{datetime.now():%Y%m%d-%H%M%S}"
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InvalidInput("out", f"{folder} is there already; name a new folder, so that samples never mix")
    return folder
