"""What generators cost: evaluations, milliseconds and motions per second of each, by preset, and their size.

Motions are 196 frames to a prompt with default guidance and finishing, made by the whole pipeline in this process, as
evaluation makes them. `evaluations` are rows of a graph, which guidance doubles. Each round measures every generator,
forwards and backwards in turn: motions one after another, then by 16 callers at a time. Values are medians over rounds,
and `milliseconds` the median of all lone motions. What is idle meanwhile is open in the same process.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import typer

from bench.bodies import PROMPTS, TIMEOUT_S
from bench.command import ROUNDS, benchmark, quick
from bench.report import Row
from choreo.command_line import say
from choreo.errors import InvalidInput
from choreo.generators.checkpoint import load_generator
from choreo.motion.skeleton import FPS, WINDOW
from choreo.shipped import checkpoint_folder
from serving.pipeline.fields import parse_fields
from serving.pipeline.pipeline import Pipeline
from serving.pipeline.request import Attachments, MotionRequest
from serving.pipeline.validation import validated_request
from serving.settings import Settings
from serving.stages.local import LocalPipeline

MEASURED: Final = ("reference", "fast")
"""Presets."""
CALLERS: Final = 16
LONE: Final = 4
"""Motions one after another in a round."""


@dataclass
class Cost:
    """What was measured so far of one generator with one preset.

    Attributes:
        rows: evaluations of a motion, by graph.
        milliseconds: of each lone motion.
        rates: motions per second of each round, by number of callers.
    """

    rows: Mapping[str, int] = field(default_factory=dict)
    milliseconds: list[float] = field(default_factory=list)
    rates: dict[int, list[float]] = field(default_factory=dict)


@benchmark
def main(
    models: Annotated[str, typer.Option(help="Names of shipped weights or checkpoint folders, by commas.")],
    rounds: Annotated[int, ROUNDS] = 5,
    short: Annotated[bool, quick("one round with the preset fast, and two callers")] = False,
) -> Iterator[Row]:
    """Costs of each generator by preset, then its size."""
    folders = chosen(models)
    presets, callers = (MEASURED[1:], 2) if short else (MEASURED, CALLERS)
    for (name, preset), cost in asyncio.run(measured(folders, presets, 1 if short else rounds, callers)).items():
        case = f"{name}, {preset}"
        for graph, rows in cost.rows.items():
            yield Row(case, f"evaluations of {graph.rpartition('.')[2]}", rows, "rows")
        yield Row(case, "milliseconds", round(float(np.median(cost.milliseconds)), 2), "ms")
        for users, rates in cost.rates.items():
            yield Row(case, f"motions per second, {users} at a time", round(float(np.median(rates)), 3), "motions/s")
    for name, folder in folders.items():
        parameters = sum(parameter.numel() for parameter in load_generator(folder).parameters())
        yield Row(name, "parameters", parameters / 1e6, "million")
        yield Row(name, "weights", sum(path.stat().st_size for path in folder.glob("*.safetensors")) / 1e6, "MB")


def chosen(models: str) -> dict[str, Path]:
    """Folder of each generator by the name that it was given by.

    Raises:
        InvalidInput: one is no generator, or is given twice.
    """
    names = [name.strip() for name in models.split(",")]
    for name in names:
        if names.count(name) > 1:
            raise InvalidInput("models", f"{name} is given more than once")
    return {name: checkpoint_folder(name) for name in names}


async def measured(
    folders: Mapping[str, Path], presets: Sequence[str], rounds: int, callers: int
) -> dict[tuple[str, str], Cost]:
    """Costs by generator and preset, measured in turn; one motion of each comes before and is not timed."""
    settings, seeds = Settings(), count()
    costs = {(name, preset): Cost() for name in folders for preset in presets}
    async with opened(folders, settings) as pipelines:
        for (name, preset), cost in costs.items():
            cost.rows = (await pipelines[name].run(_request(preset, next(seeds), settings))).rows
        for number in range(rounds):
            for name, preset in list(costs)[:: 1 if number % 2 == 0 else -1]:
                say(f"round {number + 1} of {rounds}: {name}, {preset}")
                requests = [_request(preset, next(seeds), settings) for _ in range(LONE + callers)]
                await _measure(pipelines[name], requests, callers, costs[name, preset])
    return costs


@asynccontextmanager
async def opened(folders: Mapping[str, Path], settings: Settings) -> AsyncIterator[dict[str, Pipeline]]:
    """The pipelines of all generators, each with an engine of its own.

    Raises:
        MissingDependency, InvalidArtifact: a checkpoint cannot be used.
    """
    async with AsyncExitStack() as stack:
        yield {
            name: await stack.enter_async_context(LocalPipeline(settings, [folder])) for name, folder in folders.items()
        }


async def _measure(pipeline: Pipeline, requests: Sequence[MotionRequest], callers: int, cost: Cost) -> None:
    """LONE motions one after another, then the others at the same time, one of each caller."""
    began = time.perf_counter()
    for request in requests[:LONE]:
        start = time.perf_counter()
        await pipeline.run(request)
        cost.milliseconds.append(1e3 * (time.perf_counter() - start))
    cost.rates.setdefault(1, []).append(LONE / (time.perf_counter() - began))
    began = time.perf_counter()
    await asyncio.gather(*(pipeline.run(request) for request in requests[LONE:]))
    cost.rates.setdefault(callers, []).append(callers / (time.perf_counter() - began))


def _request(preset: str, seed: int, settings: Settings) -> MotionRequest:
    """A motion of one window to one of the prompts."""
    prompt = PROMPTS[seed % len(PROMPTS)]
    fields = {"text_prompt": prompt, "duration": WINDOW / FPS, "preset": preset, "seed": seed, "timeout": TIMEOUT_S}
    return validated_request(parse_fields(fields), Attachments(), settings)


if __name__ == "__main__":
    sys.exit(main())
