"""This program compared with the documents' server, LitServe and Ray Serve on one machine in one run.

Every peer is a process of its own with the same checkpoint, requests and number of compute threads. In each round every
peer is started, warmed up, measured at every number of users and stopped, in an order that alternates from round to
round; then once more for the open loops, whose rates are fractions of the best throughput at equal steps. Values are
medians over rounds and ratios are taken within a round; fractions of the raw engine and of sgemm refer to what these
reached just before and just after the peer. A case is peer/load; `engine/rows` is the raw engine in this process. Only
`choreo-fast` has other steps, those of its preset. The load generator runs on the same cores.
"""

import asyncio
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import typer

from bench.command import ROUNDS, benchmark, quick
from bench.peers.process import PeerProcess
from bench.peers.table import PEERS, Peer, find_peers
from bench.raw_engine import BATCHES, RawEngine, Speed
from bench.report import Row
from bench.serving_figures import Findings, Round, rows_of
from bench.serving_load import FRACTIONS, Load, body, measure, order, sweep, warm_up
from choreo.command_line import numbers, say
from choreo.diffusion.trajectory import OVERLAP
from choreo.diffusion.windows import window_starts
from choreo.errors import BackendUnavailable, InvalidInput
from choreo.motion.formats.npz import read_npz
from choreo.motion.skeleton import FPS, WINDOW
from export.build import build_repository
from export.repository import serve_first
from loadtest.bad_requests import GENERATE
from serving.settings import Settings

CONCURRENCY: Final = (1, 4, 16, 64)
SONG_S: Final = 240
MAX_CONCURRENCY: Final = 1000
MAX_SHARE: Final = 2.0


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Attributes:
        users: numbers of users of the closed loops.
        fractions: rates of the open loops, as shares of the best throughput.
        batches: rows per call of the raw engine.
        song_s: length in seconds of the song that one user requests; 0: none.
    """

    peers: list[Peer]
    users: tuple[int, ...] = CONCURRENCY
    steps: int = 50
    rounds: int = 3
    seconds: float = 20.0
    fractions: tuple[float, ...] = FRACTIONS
    batches: tuple[int, ...] = BATCHES
    song_s: int = SONG_S

    def closed(self, peer: Peer) -> list[Load]:
        """Closed loops of a peer."""
        song = [Load(users=1, frames=self.song_s * FPS, name="song")] if peer.songs and self.song_s else []
        return [Load(users=users) for users in self.users] + song


@benchmark
def main(
    peers: Annotated[
        str | None, typer.Option(help=f"Separated by commas, of {', '.join(p.name for p in PEERS)}.")
    ] = None,
    concurrency: Annotated[str | None, typer.Option(help="Numbers of users, separated by commas.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Denoising steps of all peers but choreo-fast.")] = None,
    rounds: Annotated[int | None, ROUNDS] = None,
    seconds: Annotated[float | None, typer.Option(min=0.1, max=3600, help="Length of each cell after warm-up.")] = None,
    open: Annotated[str | None, typer.Option(help="Open loops, as shares of the best throughput; 0: none.")] = None,
    quick: Annotated[bool, quick("two peers, few steps, no open loops")] = False,
) -> Iterator[Row]:
    """All peers under all loads, and the raw engine."""
    plan, settings = make_plan(peers, concurrency, steps, rounds, seconds, open, quick), Settings()
    serve_first(settings.model_repo, build_repository(settings.weights, settings.model_repo).spec.name)
    with RawEngine(settings) as engine, tempfile.TemporaryDirectory(prefix="choreo-bench-") as folder:
        found = Findings(engine.gflop_per_row)
        try:
            _run(plan, engine, Path(folder), found)
        finally:
            if found.rounds:  # also those of an interrupted run
                yield from rows_of(found)


def make_plan(
    peers: str | None = None,
    concurrency: str | None = None,
    steps: int | None = None,
    rounds: int | None = None,
    seconds: float | None = None,
    fractions: str | None = None,
    quick: bool = False,
) -> Plan:
    """The plan of a command line; values that are given override those of a quick run.

    Raises:
        InvalidInput: a value is out of range.
    """
    short = {"users": (1, 4), "steps": 4, "rounds": 1, "seconds": 3.0, "song_s": 0, "fractions": (), "batches": (1, 8)}
    names = ["documents-onnx", "choreo-batched"] if quick else [peer.name for peer in PEERS]
    chosen = find_peers(names if peers is None else [name for name in peers.split(",") if name])
    values: dict[str, Any] = {"steps": steps, "rounds": rounds, "seconds": seconds}
    if concurrency is not None:
        values["users"] = tuple(numbers("concurrency", concurrency, 1, MAX_CONCURRENCY))
    if fractions is not None:
        values["fractions"] = tuple(share for share in numbers("open", fractions, 0.0, MAX_SHARE) if share)
    given = {name: value for name, value in values.items() if value is not None}
    plan = Plan(chosen, **(short if quick else {}) | given)  # type: ignore[arg-type]
    most = Settings().max_steps
    if not 1 <= plan.steps <= most:
        raise InvalidInput("steps", f"must be between 1 and {most}, got {plan.steps}")
    return plan


def _run(plan: Plan, engine: RawEngine, folder: Path, found: Findings) -> None:
    """All rounds of closed loops, then as many rounds of open loops."""
    by_name = {peer.name: peer for peer in plan.peers}
    alone = {peer.name: body(peer, 0, plan.steps) for peer in plan.peers if peer.run == ("choreo_stack",)}
    for number in range(plan.rounds):
        say(f"round {number + 1} of {plan.rounds}: raw engine")
        found.rounds.append(Round(engine.measure(plan.batches, alone)))
        for name in order(list(by_name), number):
            _measure(by_name[name], plan.closed(by_name[name]), plan, engine, folder, found, number)
    equal = [peer.name for peer in plan.peers if peer.equal]
    loads = sweep(found.best_throughput(equal or list(by_name)), plan.fractions)
    for number in range(plan.rounds if loads else 0):
        for name in order(list(by_name), number):
            _measure(by_name[name], loads, plan, engine, folder, found, number)


def _measure(
    peer: Peer, loads: Sequence[Load], plan: Plan, engine: RawEngine, folder: Path, found: Findings, number: int
) -> None:
    """Start a peer, measure it under each load and stop it; a peer that cannot start is recorded as a failure."""
    say(f"round {number + 1}: {peer.name}")
    cells = found.rounds[number].cells
    before = engine.speed()
    wanted = body(peer, 0, plan.steps)
    try:
        with PeerProcess(peer, folder) as process:
            first = read_npz(process.answer(GENERATE, wanted), "answer")
            away = np.linalg.norm(first.positions - engine.motion(wanted)[0], axis=-1).max()
            found.difference_mm[peer.name] = max(found.difference_mm.get(peer.name, 0.0), 1000 * float(away))
            rows = float(first.meta["rows"][engine.graph.name])
            asyncio.run(warm_up(process, plan.steps))
            process.settle()
            for load in loads:
                windows = len(window_starts(load.frames, WINDOW, OVERLAP))
                cell = asyncio.run(measure(process, load, plan.steps, plan.seconds, rows * windows, number, before))
                cells[peer.name, load.label] = cell
                say(f"  {load.label}: {cell.figures.served_per_s:.3g} motions/s")
    except BackendUnavailable as error:
        say(f"  {error}")
        found.failures.append((peer.name, f"round {number + 1}: {error}"))
    around = Speed.mean(before, engine.speed())
    for load in loads:
        if (peer.name, load.label) in cells:
            cells[peer.name, load.label] = replace(cells[peer.name, load.label], around=around)


if __name__ == "__main__":
    sys.exit(main())
