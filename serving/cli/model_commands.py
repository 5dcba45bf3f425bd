"""The commands that make a model and bring it to a server: `choreo train` and `choreo export`."""

import logging
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from choreo.errors import InvalidInput
from choreo.motion.upright import AUTO, UP_HELP
from serving.cli.extras import require
from serving.cli.output import Json, print_document
from serving.settings import Settings


def export(
    checkpoint: Annotated[
        list[Path] | None, typer.Option(help="Checkpoint folder; repeatable; omitted: the shipped one.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Triton model repository to write.")] = None,
    profile: Annotated[str, typer.Option(help="cpu, gpu-plan or gpu-ort.")] = "cpu",
    precision: Annotated[str, typer.Option(help="float32 or float16.")] = "float32",
    force: Annotated[bool, typer.Option("--force", help="Build again even if the repository is current.")] = False,
    tune: Annotated[bool, typer.Option("--tune", help="Measure engine options here, for about a minute.")] = False,
    as_json: Json = False,
) -> None:
    """Export checkpoints to ONNX, check them against torch, and add them to the Triton model repository."""
    require("cpu")
    from choreo.generators.spec import GraphSpec
    from export.build import build_repository
    from export.tuning import Tuning
    from export.tuning import tune as measure
    from serving.cli.checkpoints import checkpoints

    settings = Settings()
    folders = checkpoints([str(folder) for folder in checkpoint]) if checkpoint else [settings.weights]
    root, built = out or settings.model_repo, []
    with Progress(TextColumn("{task.description}"), BarColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("exporting", total=None)

        def tuned(graph: Path, spec: GraphSpec) -> Tuning:
            bar.update(task, description="measuring engine options", total=1.0)
            return measure(graph, spec, lambda done: bar.update(task, completed=done))

        for folder in folders:
            bar.update(task, description=f"exporting {folder.name}", total=None)
            built.append(build_repository(folder, root, profile, precision, force=force, tune=tuned if tune else None))
    documents = [generator.document() for generator in built]
    print_document(documents[0] if len(documents) == 1 else {"models": documents}, as_json)


def train(
    recipe: Annotated[Path, typer.Argument(help="Recipe file, or a shipped one: cleared, latent, lcm, tmr-small, ...")],
    out: Annotated[Path, typer.Option(help="Run folder; an unfinished run in it is resumed.")],
    data: Annotated[Path | None, typer.Option(help="Data set; omitted: synthetic dances only.")] = None,
    phrases: Annotated[Path | None, typer.Option(help="Library that priors are retrieved from.")] = None,
    until: Annotated[int | None, typer.Option(help="Stop after this step; a later call resumes.")] = None,
    up: Annotated[str, typer.Option(help=UP_HELP)] = AUTO,
    smoke: Annotated[bool, typer.Option("--smoke", help="A few steps on a few clips, to see that all works.")] = False,
    as_json: Json = False,
) -> None:
    """Train a model from a recipe; Ctrl-C and a second call resume from the last checkpoint."""
    require("train")
    if phrases is not None:
        require("cpu")
    from choreo.shipped import recipe_file
    from choreo.training.recipe import PoseRecipe, TextMotionRecipe, load_recipe
    from choreo.training.run import train as run_training
    from retrieval.prior.training_priors import from_library

    logging.getLogger("choreo").setLevel(logging.INFO)
    read = load_recipe(recipe_file(recipe))
    if phrases is None:
        with_priors = None
    elif isinstance(read, PoseRecipe):
        raise InvalidInput("phrases", "are for generators; a pose VAE takes no priors")
    else:
        licences = read.licences if isinstance(read, TextMotionRecipe) else read.data.licences
        with_priors = from_library(phrases, read.text_encoder, licences)
    folder = run_training(read.smoke() if smoke else read, data, out, until, with_priors or list, up)
    print_document({"checkpoint": str(folder)}, as_json)
