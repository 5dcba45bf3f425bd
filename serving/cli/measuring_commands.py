"""The commands that measure: `choreo evaluate`, `choreo bench` and `choreo loadtest`."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from choreo.data.splits.split import HELD_OUT
from choreo.errors import InvalidInput
from choreo.motion.upright import AUTO, UP_HELP
from serving.cli.extras import require
from serving.cli.output import Json
from serving.settings import Settings


def evaluate(
    data: Annotated[Path, typer.Option(help="Data set; its held-out part is danced to.")],
    checkpoint: Annotated[Path | None, typer.Option(help="Checkpoint folder; omitted: the shipped one.")] = None,
    url: Annotated[str | None, typer.Option(help="Running server that dances instead.")] = None,
    samples: Annotated[int, typer.Option(min=1, max=10_000, help="Stretches to dance to.")] = 32,
    replications: Annotated[int, typer.Option(min=1, max=100, help="Times to do so, with other seeds.")] = 1,
    preset: Annotated[str, typer.Option(help="reference, fast or draft.")] = "reference",
    steps: Annotated[int | None, typer.Option(min=1, help="Denoising steps, if not the preset's.")] = None,
    guidance_scale: Annotated[float, typer.Option(min=0, help="Classifier-free guidance.")] = 2.5,
    no_rag: Annotated[bool, typer.Option("--no-rag", help="Generate without retrieved phrases.")] = False,
    raw: Annotated[bool, typer.Option("--raw", help="Leave smoothing, rigid bones and foot lock out.")] = False,
    phrases: Annotated[Path | None, typer.Option(help="Phrase library.")] = None,
    up: Annotated[str, typer.Option(help=UP_HELP)] = AUTO,
    split: Annotated[str, typer.Option(help="val, or test for final figures.")] = HELD_OUT,
    licences: Annotated[str, typer.Option(help="Recordings to compare with: all, or those that are cleared.")] = "all",
    beside: Annotated[list[Path] | None, typer.Option(help="Checkpoint that is scored beside; repeatable.")] = None,
    models: Annotated[
        str | None,
        typer.Option(
            help="Names of shipped weights or checkpoint folders, by commas, the subject first; each may end in "
            "@PRESET or @SAMPLER:STEPS, e.g. unet-small@ddpm:50."
        ),
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Folder for tables, plots and example clips.")] = None,
    as_json: Json = False,
) -> None:
    """Score generated dances, held-out mocap and controls."""
    require("cpu")
    if report is not None:
        require("train")  # has what draws the plots
    from serving.evaluation.dancers import DanceOptions
    from serving.evaluation.harness import EvaluationRequest
    from serving.evaluation.harness import evaluate as run_evaluation
    from serving.evaluation.named_models import NamedModel, named_models
    from serving.evaluation.report import print_tables, write_generators, write_report

    if url is not None and checkpoint is not None:
        raise InvalidInput("url", "give a checkpoint or a server, not both")
    if models is not None and (url is not None or checkpoint is not None or beside):
        raise InvalidInput("models", "give models, or a checkpoint, those beside it or a server, not both")
    settings = Settings() if phrases is None else Settings(phrases=phrases)
    options, way = DanceOptions(preset, steps, guidance_scale, not no_rag, not raw), ""
    rest: list[NamedModel] = []
    if models is not None:
        first, *rest = named_models(models, options, settings.max_steps)
        checkpoint, options, way = first.folder, first.options, first.way
    request = EvaluationRequest(
        data, checkpoint, url, samples, replications, options, up=up, split=split, licences=licences,
        beside=(*(beside or ()), *rest), way=way,
    )  # fmt: skip
    found = asyncio.run(run_evaluation(request, settings))
    if report is not None:
        write_report(found, report)
        if models is not None:
            write_generators(found, report)
    if as_json:
        print(json.dumps(found.document()))
    else:
        print_tables(found, Console())


def bench(context: typer.Context, name: Annotated[str, typer.Argument(help="Benchmark, e.g. retrieval.")]) -> None:
    """Run a benchmark; options after its name are its own, and NAME --help lists them."""
    from serving.cli.bench import run_benchmark

    raise typer.Exit(run_benchmark(name, context.args))


def loadtest(context: typer.Context) -> None:
    """Load a running server with locust users or Poisson arrivals, and report latency, goodput and errors."""
    require("loadtest")
    # Replaces this process, so that signals and the exit code are the test's own, and locust patches nothing here.
    os.execv(sys.executable, [sys.executable, "-P", "-m", "loadtest", *context.args])
