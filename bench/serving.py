"""This program beside the documents' server, LitServe and Ray Serve, on one machine in one run.

Every peer is a process of its own with the same checkpoint, requests and number of compute threads. In each round every
peer is started, warmed, measured at every number of callers and stopped, the order turning round from round to round;
then once more for the open loops, whose rates are fractions of the best throughput at equal steps. Values are medians
over rounds, ratios are taken within a round, fractions of the bare engine and of sgemm with what both did just before
and just after the peer. A case is peer/load, `engine/rows` the bare engine in this process.
`choreo-fast` alone is asked for other steps: those of its preset. Its client runs on the same cores.
"""

import argparse
import asyncio
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from bench.peers.process import PeerProcess
from bench.peers.table import PEERS, Peer, peers
from bench.raw_engine import BATCHES, RawEngine, Speed
from bench.report import say, show
from bench.serving_figures import Findings, Round, rows_of
from bench.serving_load import FRACTIONS, Load, body, measure, order, sweep, warm_up
from choreo.diffusion.trajectory import OVERLAP
from choreo.diffusion.windows import window_starts
from choreo.errors import BackendUnavailable, ChoreoError, InvalidInput
from choreo.motion.formats.npz import read_npz
from choreo.motion.skeleton import FPS, WINDOW
from export.build import build_repository
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
        users: numbers of callers of the closed loops.
        fractions: of the best throughput, for the open loops.
        batches: of the bare engine.
        song_s: length of the song that one caller asks for; 0: none.
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
        """The closed loops of a peer."""
        song = [Load(users=1, frames=self.song_s * FPS, name="song")] if peer.songs and self.song_s else []
        return [Load(users=users) for users in self.users] + song


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; 2 on bad input. An interrupted run prints what it had."""
    given = sys.argv[1:] if argv is None else list(argv)
    code, found = 0, None
    try:
        plan, as_json = parse(given)
        settings = Settings()
        build_repository(settings.weights, settings.model_repo)
        engine = RawEngine(settings)
        found = Findings(engine.gflop_per_row)
        try:
            with tempfile.TemporaryDirectory(prefix="choreo-bench-") as folder:
                _run(plan, engine, Path(folder), found)
        finally:
            engine.close()
    except InvalidInput as error:
        say(f"choreo: {error}")
        return 2
    except ChoreoError as error:
        say(f"choreo: {error}")
        code = 1
    except KeyboardInterrupt:
        code = 128 + signal.SIGINT
    if found is not None and found.rounds:
        show("serving", given, rows_of(found), as_json)
    return code


def parse(argv: Sequence[str]) -> tuple[Plan, bool]:
    """The plan of a command line, and whether JSON is wanted.

    Raises:
        InvalidInput: a value is out of range.
    """
    parser = argparse.ArgumentParser(prog="choreo bench serving", description=__doc__.partition("\n")[0])
    parser.add_argument("--peers", help=f"between commas, of {', '.join(peer.name for peer in PEERS)}")
    parser.add_argument("--concurrency", help="numbers of callers, between commas")
    parser.add_argument("--steps", type=int, help="denoising steps of all but choreo-fast")
    parser.add_argument("--rounds", type=int, help="how often all of it is measured")
    parser.add_argument("--seconds", type=float, help="how long callers ask in each cell, after the warm-up")
    parser.add_argument("--open", help="shares of the best throughput for the open loops, between commas; 0: none")
    parser.add_argument("--quick", action="store_true", help="two peers, few steps, no open loops: a minute in all")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    args = parser.parse_args(argv)
    quick = {"users": (1, 4), "steps": 4, "rounds": 1, "seconds": 3.0, "song_s": 0}
    quick |= {"fractions": (), "batches": (1, 8)}  # open loops would need all peers a second time
    names = [peer.name for peer in PEERS]
    if args.quick:
        names = ["documents-onnx", "choreo-waves"]
    chosen = peers(names if args.peers is None else [name for name in args.peers.split(",") if name])
    values = {"steps": args.steps, "rounds": args.rounds, "seconds": args.seconds}
    if args.concurrency is not None:
        values["users"] = _numbers(args.concurrency)
    if args.open is not None:
        values["fractions"] = _shares(args.open)
    changes = (quick if args.quick else {}) | {name: value for name, value in values.items() if value is not None}
    plan = Plan(chosen, **changes)  # type: ignore[arg-type]
    limits = {"steps": (1, Settings().max_steps), "rounds": (1, 100), "seconds": (0.1, 3600)}
    for name, (low, high) in limits.items():
        if not low <= getattr(plan, name) <= high:
            raise InvalidInput(name, f"must be between {low} and {high}, got {getattr(plan, name)}")
    return plan, args.json


def _numbers(text: str) -> tuple[int, ...]:
    try:
        numbers = tuple(dict.fromkeys(int(part) for part in text.split(",")))
    except ValueError as error:
        raise InvalidInput("concurrency", f"must be whole numbers between commas, got {text[:64]!r}") from error
    if not all(1 <= number <= MAX_CONCURRENCY for number in numbers):
        raise InvalidInput("concurrency", f"must be between 1 and {MAX_CONCURRENCY} each, got {text[:64]!r}")
    return numbers


def _shares(text: str) -> tuple[float, ...]:
    try:
        shares = tuple(dict.fromkeys(float(part) for part in text.split(",")))
    except ValueError as error:
        raise InvalidInput("open", f"must be numbers between commas, got {text[:64]!r}") from error
    if not all(0 <= share <= MAX_SHARE for share in shares):
        raise InvalidInput("open", f"must be between 0 and {MAX_SHARE:g} each, got {text[:64]!r}")
    return tuple(share for share in shares if share)


def _run(plan: Plan, engine: RawEngine, folder: Path, found: Findings) -> None:
    """All rounds of closed loops, then as many of open ones."""
    by_name = {peer.name: peer for peer in plan.peers}
    alone = {peer.name: body(peer, 0, plan.steps) for peer in plan.peers if peer.run == ("choreo_stack",)}
    for number in range(plan.rounds):
        say(f"round {number + 1} of {plan.rounds}: the bare engine")
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
    """Start a peer, offer it the loads one after the other, and stop it; a peer that cannot start is left out."""
    say(f"round {number + 1}: {peer.name}")
    cells = found.rounds[number].cells
    before = engine.speed(found.rounds[number].raw.best_batch)
    wanted = body(peer, 0, plan.steps)
    try:
        with PeerProcess(peer, folder) as process:
            first = read_npz(process.answer(GENERATE, wanted), "answer")
            away = np.linalg.norm(first.positions - engine.motion(wanted)[0], axis=-1).max()
            found.difference_mm[peer.name] = max(found.difference_mm.get(peer.name, 0.0), 1000 * float(away))
            rows = float(first.meta["rows"]["denoiser"])
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
    around = Speed.mean(before, engine.speed(found.rounds[number].raw.best_batch))
    for load in loads:
        if (peer.name, load.label) in cells:
            cells[peer.name, load.label] = replace(cells[peer.name, load.label], around=around)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    # As an interruption, so that the peer that is running is stopped and what was measured is printed.
    signal.signal(signal.SIGTERM, _interrupt)
    sys.exit(main())
