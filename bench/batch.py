"""Catalogs: their rate next to the server's and to one item after another, and what an item costs beside its dance.

`rate/...`: one catalog of prompts and songs, danced by `choreo batch`, by the server under a closed loop of users who
send the same items, and by the pipeline in this process one item after another (a part of the catalog). All three
evaluate the same graphs on the same cores, in alternating rounds of one run; rates count from the first item to the
last, without the start of processes, which `start_s` has.

`overhead/N`: N short items with a simulated denoiser that takes no time, so that what is measured is everything else:
reading, checking, Ray, finishing a few frames, two writes to disk. `resume_s` is how long the same command takes when
all items are done.

`nodes/N`: the same short items on a cluster of N simulated nodes of this machine, with one worker each and a simulated
denoiser of known speed, which sleeps rather than computes. `efficiency` is the rate over N times that of one node.
"""

import asyncio
import base64
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

import httpx
import numpy as np
import typer

from bench.command import ROUNDS, benchmark, quick
from bench.conditioned_engine import ConditionedEngine
from bench.peers.process import PeerProcess
from bench.peers.table import find_peers
from bench.report import Row, anonymous_mib
from bench.serving_load import PROMPTS
from bench.simulated_nodes import simulated_nodes
from choreo.command_line import numbers, say
from choreo.errors import BackendUnavailable
from choreo.motion.formats.formats import Format
from choreo.music.synth import synthesize_song, write_wav
from export.build import build_repository
from loadtest.bad_requests import GENERATE
from serving.batch.actors import RayWorkers
from serving.batch.config import WorkerConfig
from serving.batch.feed import Workers
from serving.batch.progress import Silent
from serving.batch.run import FINISHED, BatchOptions, run_batch
from serving.engines.base import Engine
from serving.pipeline.fields import parse_fields
from serving.pipeline.request import Attachments
from serving.pipeline.validation import validated_request
from serving.ray.session import RaySession
from serving.settings import Settings
from serving.stages.local import LocalPipeline

SONG_S: Final = 12.0
USERS: Final = 48
"""Users of the closed loop: more than the server works on at a time, and fewer than it turns away."""
ALONE_EVERY: Final = 10
"""One item after another is measured on every tenth item of each kind."""
TIMEOUT_S: Final = 900.0
BATCH_S: Final = 0.01
ROW_S: Final = 0.01
"""Cost of a step batch and of each of its rows on a simulated node, seconds: some 12 items a second."""
STEPS: Final = 4
NODE_ITEMS: Final = 300
"""Items per simulated node."""
SAMPLE_EVERY: Final = 500
"""Items between looks at the driver's memory."""


@dataclass(frozen=True)
class Item:
    """One item of the catalog; `song` is a file next to it."""

    custom_id: str
    fields: Mapping[str, Any]
    song: Path | None = None

    def row(self) -> dict[str, Any]:
        """Its line."""
        body = dict(self.fields) | ({} if self.song is None else {"audio": self.song.name})
        return {"custom_id": self.custom_id, "body": body}

    def request(self) -> dict[str, Any]:
        """The same as the body of an HTTP request."""
        body = dict(self.fields) | {"format": Format.NPZ.name, "timeout": TIMEOUT_S}
        if self.song is not None:
            body["audio"] = base64.b64encode(self.song.read_bytes()).decode()
        return body


class Memory(Silent):
    """Watches the driver's memory, and the time of dancing.

    Attributes:
        first_mib, most_mib: anonymous memory when the workers were ready, and the largest that was seen.
        began, ended: of dancing, as of `time.perf_counter`.
    """

    def __init__(self) -> None:
        self.first_mib, self.most_mib, self.began, self.ended, self._items = 0.0, 0.0, 0.0, 0.0, 0

    def begin(self, total: int, done: int, failed: int) -> None:
        """The workers are ready."""
        self.began, self.first_mib = time.perf_counter(), anonymous_mib()

    def item(self, succeeded: bool) -> None:
        """One more is done."""
        self.ended = time.perf_counter()
        self._items += 1
        if self._items % SAMPLE_EVERY == 0:
            self.most_mib = max(self.most_mib, anonymous_mib())

    def stage(self, name: str) -> None:
        """Something else begins."""
        self.most_mib = max(self.most_mib, anonymous_mib())


@benchmark
def main(
    prompts: Annotated[int | None, typer.Option(min=0, max=10_000, help="Prompts of the catalog; default 200.")] = None,
    songs: Annotated[int | None, typer.Option(min=0, max=1000, help="Songs of the catalog; default 20.")] = None,
    preset: Annotated[str | None, typer.Option(help="Of all items; default reference.")] = None,
    rounds: Annotated[int, ROUNDS] = 1,
    items: Annotated[str | None, typer.Option(help="Simulated items, separated by commas; 0: none.")] = None,
    nodes: Annotated[str, typer.Option(help="Numbers of simulated nodes, separated by commas; 0: none.")] = "0",
    quick: Annotated[bool, quick("44 items of preset fast, and 500 simulated ones")] = False,
) -> Iterator[Row]:
    """Rates of a catalog, and overhead per item."""
    small = (40, 4, "fast", "500") if quick else (200, 20, "reference", "1000,10000")
    counts = [count for count in numbers("items", items or small[3], 0, 10_000_000) if count]
    settings = Settings()
    build_repository(settings.weights, settings.model_repo)
    with tempfile.TemporaryDirectory(prefix="choreo-bench-") as folder:
        chosen = (small[0] if prompts is None else prompts, small[1] if songs is None else songs, preset or small[2])
        if made := _items(Path(folder), *chosen):
            yield from _rates(Path(folder), settings, made, rounds)
        for count in counts:
            say(f"{count} simulated items")
            yield from _overhead(Path(folder), settings, count)
        yield from _scaling(Path(folder), settings, [count for count in numbers("nodes", nodes, 0, 64) if count])


def _items(folder: Path, prompts: int, songs: int, preset: str) -> list[Item]:
    """Prompts with songs among them."""
    common = {"preset": preset, "use_rag": False}
    made = [Item(f"prompt-{i}", common | {"text_prompt": PROMPTS[i % len(PROMPTS)], "seed": i}) for i in range(prompts)]
    for i in range(songs):
        samples, rate, _ = synthesize_song(90.0 + 3 * i, SONG_S)
        write_wav(folder / f"song-{i}.wav", samples, rate)
        made.insert(
            (i + 1) * len(made) // (songs + 1), Item(f"song-{i}", common | {"seed": i}, folder / f"song-{i}.wav")
        )
    return made


def _rates(folder: Path, settings: Settings, items: list[Item], rounds: int) -> Iterator[Row]:
    found: dict[str, list[float]] = {"batch": [], "server": [], "alone": []}
    starts = []
    for number in range(rounds):
        for name in ("batch", "server") if number % 2 == 0 else ("server", "batch"):
            say(f"round {number + 1} of {rounds}: {name}, {len(items)} items")
            if name == "server":
                found[name].append(asyncio.run(_server_rate(folder, items)))
            else:
                rate, start_s = _batch_rate(folder, settings, items, number)
                found[name].append(rate)
                starts.append(start_s)
        say(f"round {number + 1} of {rounds}: one after another")
        found["alone"].append(asyncio.run(_alone_rate(settings, items)))
    rates = {name: np.array(values) for name, values in found.items()}
    for name, values in rates.items():
        yield Row(f"rate/{name}", "items_per_s", float(np.median(values)), "items/s")
    yield Row("rate/batch", "start_s", float(np.median(starts)), "s")
    yield Row("rate/batch", "of_server", float(np.median(rates["batch"] / rates["server"])), "")
    yield Row("rate/batch", "of_alone", float(np.median(rates["batch"] / rates["alone"])), "")


def _batch_rate(folder: Path, settings: Settings, items: list[Item], number: int) -> tuple[float, float]:
    """Items per second, and the seconds until the first one was begun."""
    catalog = folder / "catalog.jsonl"
    catalog.write_text("".join(json.dumps(item.row()) + "\n" for item in items))
    watch, began = Memory(), time.perf_counter()
    _run(catalog, folder / f"batch-{number}", settings, watch)
    return len(items) / (watch.ended - watch.began), watch.began - began


async def _server_rate(folder: Path, items: list[Item]) -> float:
    """Items per second of the server when users send the catalog, each item once."""
    (peer,) = find_peers(["choreo-batched"])
    requests = [item.request() for item in items]
    with PeerProcess(peer, folder) as process:
        process.answer(GENERATE, {"text_prompt": PROMPTS[0], "num_steps": 4, "use_rag": False, "format": "npz"})
        process.settle()
        left = iter(requests)
        async with httpx.AsyncClient(base_url=process.url, timeout=TIMEOUT_S, trust_env=False) as client:

            async def user() -> None:
                for body in left:
                    (await client.post(GENERATE, json=body)).raise_for_status()

            began = time.perf_counter()
            await asyncio.gather(*(user() for _ in range(USERS)))
            return len(items) / (time.perf_counter() - began)


async def _alone_rate(settings: Settings, items: list[Item]) -> float:
    """Items per second one after another, from a part of the catalog with its share of songs."""
    seconds: dict[bool, list[float]] = {True: [], False: []}
    kinds = {kind: [item for item in items if (item.song is not None) is kind] for kind in seconds}
    async with LocalPipeline(settings) as pipeline:
        for kind, of_kind in kinds.items():
            for number, item in enumerate([*of_kind[:1], *of_kind[::ALONE_EVERY]]):
                audio = None if item.song is None else item.song.read_bytes()
                began = time.perf_counter()
                request = validated_request(parse_fields(dict(item.fields)), Attachments(audio), settings)
                await pipeline.run(request)
                if number:  # the first one loads encoders
                    seconds[kind].append(time.perf_counter() - began)
    total = sum(float(np.mean(times)) * len(kinds[kind]) for kind, times in seconds.items() if times)
    return len(items) / total


def _overhead(folder: Path, settings: Settings, count: int) -> Iterator[Row]:
    """Cost of an item beside its dance, the driver's memory, and the time that finding all done takes."""
    catalog, out, watch = _short_items(folder, count, 1), folder / f"out-{count}", Memory()
    _run(catalog, out, settings, watch, ConditionedEngine)
    began = time.perf_counter()
    _run(catalog, out, settings, Memory(), ConditionedEngine)
    resume_s = time.perf_counter() - began
    yield Row(f"overhead/{count}", "ms_per_item", 1e3 * (watch.ended - watch.began) / count, "ms")
    yield Row(f"overhead/{count}", "driver_mib", watch.most_mib, "MiB")
    yield Row(f"overhead/{count}", "driver_growth_mib", watch.most_mib - watch.first_mib, "MiB")
    yield Row(f"overhead/{count}", "resume_s", resume_s, "s")


def _scaling(folder: Path, settings: Settings, nodes: list[int]) -> Iterator[Row]:
    """Rates of simulated nodes, each with work for the same time."""
    alone = 0.0
    make_engine = partial(ConditionedEngine, BATCH_S, ROW_S)
    for count in nodes:
        say(f"{count} simulated nodes")
        catalog, watch = _short_items(folder, NODE_ITEMS * count, STEPS), Memory()
        with simulated_nodes(count) as address:
            on_cluster = settings.model_copy(update={"ray_address": address})
            _run(catalog, folder / f"nodes-{count}", on_cluster, watch, make_engine)
        rate = NODE_ITEMS * count / (watch.ended - watch.began)
        alone = alone or rate / count
        yield Row(f"nodes/{count}", "items_per_s", rate, "items/s")
        yield Row(f"nodes/{count}", "efficiency", rate / (count * alone), "")


def _short_items(folder: Path, count: int, steps: int) -> Path:
    """A catalog of items of six frames, which take hardly any finishing."""
    fields = {"text_prompt": PROMPTS[0], "duration": 0.2, "num_steps": steps, "use_rag": False}
    fields |= {"smooth": False, "bone_lengths": False, "foot_lock": False}
    path = folder / f"{count}-{steps}.jsonl"
    with path.open("w") as file:
        file.writelines(json.dumps({"custom_id": str(i), "body": fields}) + "\n" for i in range(count))
    return path


def _run(
    catalog: Path, out: Path, settings: Settings, watch: Memory, make_engine: Callable[[], Engine] | None = None
) -> None:
    """One run of a catalog, of which every item must succeed."""
    summary = run_batch(BatchOptions(str(catalog), str(out)), settings, watch, partial(_workers, make_engine))
    if summary["state"] != FINISHED or summary["failed"]:
        raise BackendUnavailable(f"the catalog was not danced: {summary}")


@contextmanager
def _workers(make_engine: Callable[[], Engine] | None, config: WorkerConfig) -> Iterator[Workers]:
    address = config.settings.ray_address
    with RaySession(address) as session, RayWorkers(session, replace(config, make_engine=make_engine)) as workers:
        yield workers


if __name__ == "__main__":
    sys.exit(main())
