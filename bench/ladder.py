"""The speed of one generator step by step: torch, ONNX, compiled, batched, through the server, with few steps.

Every rung adds one thing to the rung before it. The first four call the denoiser in this process, with two rows (one
request with guidance) or 32 rows per call; their motions per second are rows per second over the rows of one motion, so
that they count the denoiser alone. The last two send requests over HTTP to the server, which puts the rows of all users
into step batches and hands them to Triton through shared memory; they count everything from request to file. Rungs are
measured in turn, forwards and backwards, round after round. Rates are medians over rounds, and a ratio is the median
over rounds of the motions per second over those of the first rung. The server idles while the first rungs run.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import typer

from bench.command import ROUNDS, benchmark, quick
from bench.contenders import NATIVE, Exported, Run, native_engine, onnx_runtime, random_inputs, step_graph, torch_eager
from bench.peers.process import PeerProcess
from bench.peers.table import Peer, find_peers
from bench.report import Row, skipped
from bench.serving_load import TIMEOUT_S, body, order, request, warm_up, whole
from choreo.command_line import say
from choreo.diffusion.presets import PRESETS
from choreo.errors import BackendUnavailable
from choreo.generators.checkpoint import load_generator
from choreo.generators.network import GeneratorNetwork
from choreo.generators.spec import GraphSpec
from choreo.motion.formats.npz import read_npz
from export.build import build_repository
from export.native.loader import NativeUnavailable
from loadtest.bad_requests import GENERATE
from loadtest.closed_loop import closed_loop
from loadtest.figures import figures
from loadtest.http_client import HttpClient
from loadtest.samples import Outcome
from serving.settings import Settings

TORCH: Final = "eager torch"
STEPS: Final = PRESETS["reference"].num_steps
ROWS: Final = 2
"""Rows of one request with guidance: a conditional and an unconditional one."""
BATCH: Final = 32
USERS: Final = BATCH // ROWS
MIN_CALLS: Final = 3


@dataclass(frozen=True)
class Speed:
    """Rows of the denoiser and whole motions per second."""

    rows_per_s: float
    motions_per_s: float


Rung = Callable[[float], Speed]
"""Measures for about so many seconds."""


@benchmark
def main(
    rounds: Annotated[int | None, ROUNDS] = None,
    seconds: Annotated[float | None, typer.Option(min=0.1, max=600, help="Length of a rung in a round.")] = None,
    quick: Annotated[bool, quick("two rounds of a second per rung")] = False,
) -> Iterator[Row]:
    """Rates and ratios of all rungs."""
    settings = Settings()
    build_repository(settings.weights, settings.model_repo)
    network = load_generator(settings.weights)
    with ExitStack() as stack:
        rungs, compiled = in_process(network, settings.model_repo)
        if compiled is not None:
            yield skipped("compiled", compiled)
        try:
            rungs |= stack.enter_context(served(step_graph(network.spec).name))
        except BackendUnavailable as error:
            yield skipped("triton", str(error))
        yield from climb(rungs, rounds or (2 if quick else 5), seconds or (1.0 if quick else 5.0))


def climb(rungs: Mapping[str, Rung], rounds: int, seconds: float) -> Iterator[Row]:
    """Measure all rungs in every round; the first one is what ratios refer to."""
    found: dict[str, list[Speed]] = {name: [] for name in rungs}
    for number in range(rounds):
        for name in order(list(rungs), number):
            say(f"round {number + 1} of {rounds}: {name}")
            found[name].append(rungs[name](seconds))
    first = np.array([speed.motions_per_s for speed in next(iter(found.values()))])
    for name, speeds in found.items():
        motions = np.array([speed.motions_per_s for speed in speeds])
        yield Row(name, "rows_per_s", float(np.median([speed.rows_per_s for speed in speeds])), "rows/s")
        yield Row(name, "motions_per_s", float(np.median(motions)), "motions/s")
        yield Row(name, "ratio", float(np.median(motions / first)), "")


def in_process(network: GeneratorNetwork, repository: Path) -> tuple[dict[str, Rung], str | None]:
    """The rungs without a server, and why the compiled engine is not among them, if it is not.

    Without it, the batched rung is that of ONNX Runtime.
    """
    step = step_graph(network.spec)
    of = Exported.of(network, step, repository)
    exported = onnx_runtime(of.graph, of.options)
    rungs = {TORCH: calls(torch_eager(of.module), step, ROWS), "onnx runtime": calls(exported, step, ROWS)}
    try:
        engine = native_engine(of.graph.parent, of.options)[NATIVE]
    except NativeUnavailable as error:
        return rungs | {"batched": calls(exported, step, BATCH)}, str(error)
    return rungs | {"compiled": calls(engine, step, ROWS), "batched": calls(engine, step, BATCH)}, None


def calls(run: Run, graph: GraphSpec, rows: int) -> Rung:
    """Median rate of calls of a graph with so many rows, after one call that is not timed."""
    inputs = random_inputs(graph, rows)
    run(inputs)

    def measure(seconds: float) -> Speed:
        taken: list[float] = []
        while sum(taken) < seconds or len(taken) < MIN_CALLS:
            began = time.perf_counter()
            run(inputs)
            taken.append(time.perf_counter() - began)
        rate = rows / float(np.median(taken))
        return Speed(rate, rate / (ROWS * STEPS))

    return measure


@contextmanager
def served(graph: str) -> Iterator[dict[str, Rung]]:
    """Context manager: a running server, and the rungs that send requests to it.

    Args:
        graph: name of the graph whose rows are counted.

    Raises:
        BackendUnavailable: the server cannot start.
    """
    reference, fast = find_peers(["choreo-batched", "choreo-fast"])  # one server, asked for different presets
    with (
        tempfile.TemporaryDirectory(prefix="choreo-bench-") as folder,
        PeerProcess(reference, Path(folder)) as process,
    ):
        say("starting the server")
        rungs = {name: _requests(process, peer, graph) for name, peer in (("triton", reference), ("fast", fast))}
        asyncio.run(warm_up(process, STEPS))
        process.settle()
        yield rungs


def _requests(process: PeerProcess, peer: Peer, graph: str) -> Rung:
    """Rate of requests of `USERS` users; a failed request is an error."""
    rows = float(read_npz(process.answer(GENERATE, body(peer, 0, STEPS)), "answer").meta["rows"][graph])

    async def load(seconds: float) -> Speed:
        async with HttpClient(process.url, TIMEOUT_S) as client:
            samples = await closed_loop(client.send, lambda index: request(peer, index, STEPS), USERS, seconds)
        found = figures(peer.name, samples, whole(samples))
        if found.outcomes[Outcome.SERVED] < found.requests:
            raise BackendUnavailable(f"the server failed: {found.errors}")
        return Speed(found.served_per_s * rows, found.served_per_s)

    return lambda seconds: asyncio.run(load(seconds))


if __name__ == "__main__":
    sys.exit(main())
