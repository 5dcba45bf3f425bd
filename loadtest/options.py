"""The command line of `choreo loadtest`, parsed and validated."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

import typer

from choreo import command_line
from choreo.command_line import numbers
from choreo.errors import InvalidInput
from loadtest.open_loop import MAX_IN_FLIGHT
from loadtest.scenarios import Scenario
from loadtest.thresholds import Thresholds

MAX_ARRIVALS: Final = 5_000_000
"""Per run: arrivals are drawn before the run begins, and their samples are kept until it ends."""
MAX_USERS: Final = 10_000
MAX_RATES: Final = 50
MIN_RATE: Final = 1e-3
DAY_S: Final = 86_400.0
SUMMARY: Final = "Load a running server and report latency, throughput and errors."
EPILOG: Final = (
    "Exit codes: 0 all thresholds met; 1 a threshold missed, or the run failed; 2 bad input; 3 the load generator was "
    "late, so the figures are not trustworthy; 128 + the signal's number when interrupted. An interrupted run still "
    "writes its report."
)


@dataclass(frozen=True)
class Options:
    """What to run.

    Attributes:
        rates: arrivals per second of the open loops, run one after the other; empty: one closed loop.
        users, spawn_rate: number of users of the closed loop, and how many of them start per second.
        seconds, warm_up: length of each run, and how much of its beginning the figures leave out.
        timeout_s: how long to wait for an answer.
        objective_s: latency within which a request counts as good; None: no objective.
        max_lag_s: bound of the generator's lag, see `loadtest.thresholds.distrusted`.
        page_port: port of locust's web page; None: no page.
        out: folder of the results; new or empty.
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
    """Parse and validate a command line.

    Raises:
        InvalidInput: a value is out of range, or options contradict each other.
        SystemExit: the help text was asked for and has been printed.
    """
    return command_line.parse(_options, argv, "choreo loadtest", SUMMARY, EPILOG)


_OPEN: Final = "Open loop: requests start whether or not earlier ones were answered"
_CLOSED: Final = "Closed loop, if no rate is given: locust users, one request each"
_BOUNDS: Final = "Thresholds: exit code 1 if a run misses one"


def _opened(text: str, **limits: Any) -> Any:
    return typer.Option(help=text, rich_help_panel=_OPEN, **limits)


def _closed(text: str, **limits: Any) -> Any:
    return typer.Option(help=text, rich_help_panel=_CLOSED, **limits)


def _bound(text: str, unit: str, low: float, high: float) -> Any:
    return typer.Option(help=text, rich_help_panel=_BOUNDS, metavar=unit, min=low, max=high)


def _seconds(text: str, low: float = 0, high: float = DAY_S) -> Any:
    return _bound(text, "SECONDS", low, high)


def _share(text: str) -> Any:
    return _bound(text, "SHARE", 0, 1)


def _options(
    url: Annotated[str, typer.Argument(help="Server, e.g. http://127.0.0.1:8000.")],
    scenario: Annotated[Scenario, typer.Option(help="Mix of requests.")] = Scenario.INTERACTIVE,
    seconds: Annotated[float, typer.Option(min=0.1, max=DAY_S, help="Length of each run.")] = 60.0,
    warm_up: Annotated[float, typer.Option(min=0, max=DAY_S, help="Seconds of it that do not count.")] = 0.0,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Seed of requests and arrivals.")] = 0,
    timeout: Annotated[float, typer.Option(min=0.1, max=DAY_S, help="Seconds to wait for an answer.")] = 150.0,
    out: Annotated[Path | None, typer.Option(help="Folder for the results; omitted: out/loadtest-DATE.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    rate: Annotated[float | None, _opened("Mean arrivals per second of a Poisson process.", min=MIN_RATE)] = None,
    rates: Annotated[str | None, _opened("Several rates, separated by commas, one run each.")] = None,
    max_in_flight: Annotated[int, _opened("Arrivals beyond this are dropped.", min=1, max=100_000)] = MAX_IN_FLIGHT,
    users: Annotated[int | None, _closed("Number of users; omitted: 1.", min=1, max=MAX_USERS)] = None,
    spawn_rate: Annotated[float, _closed("Users that start per second.", min=0.01, max=MAX_USERS)] = 10.0,
    web: Annotated[bool, typer.Option("--web", help="Serve locust's web page.", rich_help_panel=_CLOSED)] = False,
    web_port: Annotated[int, _closed("Port of that page, on this machine only.", min=1, max=65535)] = 8089,
    p50: Annotated[float | None, _seconds("Largest median latency.")] = None,
    p95: Annotated[float | None, _seconds("Largest 95th percentile.")] = None,
    p99: Annotated[float | None, _seconds("Largest 99th percentile.")] = None,
    error_rate: Annotated[float, _share("Largest share of failed requests.")] = 0.0,
    shed_rate: Annotated[float | None, _share("Largest share of requests turned away.")] = None,
    drop_rate: Annotated[float, _share("Largest share of requests not sent.")] = 0.0,
    min_throughput: Annotated[float | None, _bound("Served requests per second, at least.", "N", 0, 1e6)] = None,
    slo: Annotated[float | None, _seconds("Latency of a good request, for goodput.", 0.001)] = None,
    max_lag: Annotated[float, _seconds("How late 99 % of the requests may start.", 0.0001, 60)] = 0.05,
) -> Options:
    if warm_up >= seconds:
        raise InvalidInput("warm-up", f"must be shorter than the {seconds:g} seconds of the run")
    arrivals = _rates(rate, rates, seconds)
    if arrivals and (web or users is not None):
        raise InvalidInput("rate", "belongs to an open loop, which has neither users nor locust's page")
    return Options(
        url=_url(url),
        scenario=scenario,
        seed=seed,
        rates=arrivals,
        users=users or 1,
        spawn_rate=spawn_rate,
        seconds=seconds,
        warm_up=warm_up,
        timeout_s=timeout,
        max_in_flight=max_in_flight,
        objective_s=slo,
        max_lag_s=max_lag,
        thresholds=Thresholds(p50, p95, p99, error_rate, shed_rate, drop_rate, min_throughput),
        page_port=web_port if web else None,
        out=_out(out),
        as_json=as_json,
    )


def _rates(rate: float | None, rates: str | None, seconds: float) -> tuple[float, ...]:
    if rate is not None and rates is not None:
        raise InvalidInput("rates", "give one rate or several, not both")
    if rate is None and rates is None:
        return ()
    field, text = ("rate", str(rate)) if rates is None else ("rates", rates)
    found = numbers(field, text, MIN_RATE, MAX_ARRIVALS / seconds)
    if len(found) > MAX_RATES or len(found) < text.count(",") + 1:
        raise InvalidInput("rates", f"must be at most {MAX_RATES} different numbers")
    return tuple(found)


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
        raise InvalidInput("out", f"{folder} already exists; name a new folder, so that samples never mix")
    return folder
