"""The load of `bench.serving`: its requests, and the measurement of one peer under one load."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import psutil

from bench.peers.process import Meter, PeerProcess
from bench.peers.table import Peer
from bench.raw_engine import Speed
from choreo.motion.formats.formats import Format
from choreo.motion.skeleton import FPS, WINDOW
from loadtest.arrivals import poisson
from loadtest.bad_requests import GENERATE
from loadtest.closed_loop import closed_loop
from loadtest.figures import Figures, Window, figures
from loadtest.http_client import HttpClient
from loadtest.open_loop import open_loop
from loadtest.samples import Outcome, Sample
from loadtest.scenarios import LoadRequest

PROMPTS: Final = (
    "a dancer performs a slow waltz",
    "a dancer performs a cha-cha, with turns",
    "a tall woman performs a tango, then stops",
    "somebody in a crowd dances salsa, fast and energetically",
    "an old man dances a rumba, slowly and calmly",
    "a child jumps and kicks",
    "house dance, staying on the spot",
    "a person dances a waltz, travelling across the floor",
)
GUIDANCE: Final = 2.5
TIMEOUT_S: Final = 900.0
WARM_UP_USERS: Final = 16
FRACTIONS: Final = (0.25, 0.5, 0.75, 0.95)
"""Rates of the open loops, as shares of the best measured throughput."""


@dataclass(frozen=True)
class Load:
    """The load of one cell: a number of users or of arrivals per second, and the length of each motion."""

    users: int = 0
    rate: float = 0.0
    frames: int = WINDOW
    name: str = ""

    @property
    def label(self) -> str:
        """Short name: the second part of a case."""
        return self.name or str(self.users)


@dataclass(frozen=True)
class Cell:
    """The measurement of one peer under one load.

    Attributes:
        denoiser_rows: rows of the denoiser per motion.
        around: the raw engine before and after the peer was measured.
        cpu_s: processor seconds of the peer's processes by name.
        client_cpu_s: processor seconds of this process, which generates the load.
        peak_mib: peak memory of the peer's processes.
    """

    peer: str
    load: Load
    figures: Figures
    denoiser_rows: float
    around: Speed
    cpu_s: dict[str, float]
    client_cpu_s: float
    peak_mib: float


def body(peer: Peer, index: int, steps: int, frames: int = WINDOW) -> dict[str, Any]:
    """Fields of a peer's request of a number; prompt and seed of a number are the same for all peers."""
    wanted: dict[str, Any] = {
        "text_prompt": PROMPTS[index % len(PROMPTS)],
        "seed": index,
        "duration": frames / FPS,
        "num_steps": steps,
        "sampler": "ddim",
        "guidance_scale": GUIDANCE,
        "timeout": TIMEOUT_S,
        "use_rag": False,
        "smooth": False,
        "bone_lengths": False,
        "foot_lock": False,
        "format": Format.NPZ.name,
    } | dict(peer.fields)
    return {name: value for name, value in wanted.items() if value is not None}


def request(peer: Peer, index: int, steps: int, frames: int = WINDOW) -> LoadRequest:
    """The same as an HTTP request, without compressed answers, on which some servers would spend time."""
    headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
    data = json.dumps(body(peer, index, steps, frames)).encode()
    return LoadRequest("motion", "POST", GENERATE, headers, data, format=Format.NPZ, frames=frames)


def sweep(best: float, fractions: Sequence[float] = FRACTIONS) -> list[Load]:
    """Open loops at fractions of the best throughput in motions per second; none if that is 0."""
    return [Load(rate=best * share, name=f"open-{share:g}") for share in fractions if best > 0]


def order(names: Sequence[str], round_number: int) -> list[str]:
    """Order of measurement: reversed in every second round, so that drift affects all alike."""
    return list(names) if round_number % 2 == 0 else list(reversed(names))


async def warm_up(process: PeerProcess, steps: int) -> None:
    """Send one request per user, which fills a batch and covers all prompts."""
    async with HttpClient(process.url, TIMEOUT_S) as client:
        await closed_loop(client.send, _requests(process.peer, steps, WINDOW), WARM_UP_USERS, seconds=1e-6)


async def measure(
    process: PeerProcess, load: Load, steps: int, seconds: float, rows: float, seed: int, before: Speed
) -> Cell:
    """Apply a load for some seconds, and wait for the last answer.

    Figures cover everything from the first request to the last answer, so that no work is counted in part: the rate of
    a server that answers in batches would otherwise depend on where the time ends.

    Args:
        rows: rows of the denoiser per motion.
        seed: seed of the arrivals.
        before: speed of the raw engine before the peer was started.
    """
    wanted = _requests(process.peer, steps, load.frames)
    async with HttpClient(process.url, TIMEOUT_S) as client:
        spent = _own_cpu_s()
        with Meter(process.processes) as meter:
            if load.rate:
                samples = await open_loop(client.send, wanted, poisson(load.rate, seconds, seed))
            else:
                samples = await closed_loop(client.send, wanted, load.users, seconds)
        own = _own_cpu_s() - spent
    found = figures(load.label, samples, whole(samples))
    return Cell(process.peer.name, load, found, rows, before, meter.usage.cpu_s, own, meter.usage.peak_mib)


def whole(samples: Sequence[Sample]) -> Window:
    """The window from the start to the last answer."""
    last = max((s.ended for s in samples if s.outcome is Outcome.SERVED and s.ended is not None), default=0.0)
    latest = max((s.intended for s in samples), default=0.0)
    return Window(0.0, max(last, latest) + 1e-6)


def _requests(peer: Peer, steps: int, frames: int) -> Callable[[int], LoadRequest]:
    return lambda index: request(peer, index, steps, frames)


def _own_cpu_s() -> float:
    times = psutil.Process().cpu_times()
    return times.user + times.system
