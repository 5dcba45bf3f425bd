"""The command that gives a dancer a partner: `choreo duet`."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from choreo.errors import InvalidInput
from choreo.generators.checkpoint import read_config
from choreo.generators.registry import generator_class
from choreo.motion.upright import AUTO, UP_HELP
from choreo.music.limits import FORMATS
from serving.cli.dance_commands import FORMATS_HELP
from serving.cli.extras import require
from serving.cli.output import Json, print_document
from serving.settings import Settings


def duet(
    leader: Annotated[Path, typer.Argument(help="Motion of one dancer: npz, json or bvh.")],
    model: Annotated[str, typer.Option(help="Name of a shipped duet model, or a checkpoint folder.")],
    song: Annotated[Path | None, typer.Option(help=f"Song that the film has: {FORMATS}.")] = None,
    follows: Annotated[
        bool, typer.Option("--follows", help="The given dancer follows; the one who leads is made.")
    ] = False,
    duration: Annotated[float | None, typer.Option(help="Seconds; omitted: as long as the leader.")] = None,
    seed: Annotated[int | None, typer.Option(help="Same seed, same motion.")] = None,
    format: Annotated[list[str] | None, typer.Option(help=FORMATS_HELP)] = None,
    camera: Annotated[str, typer.Option(help="Of an mp4: follow the dancers, or fixed.")] = "follow",
    fps: Annotated[float | None, typer.Option(help="Frames per second of the files, 1 to 120.")] = None,
    up: Annotated[str, typer.Option(help=UP_HELP)] = AUTO,
    smooth: Annotated[bool, typer.Option(help="Take jitter out of the partner.")] = True,
    foot_lock: Annotated[bool, typer.Option(help="Hold the partner's planted feet still.")] = True,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("out"),
    as_json: Json = False,
) -> None:
    """Make the partner of a dancer, and write both of them to the same files."""
    require("cpu")
    from serving.cli.checkpoints import checkpoints
    from serving.cli.generate import generate_files

    models = checkpoints([model])
    spec = read_config(models[0]).spec
    if not generator_class(spec.family).learns_couples:
        raise InvalidInput("model", f"{spec.name} makes solos; give a duet model")
    fields = {
        "seed": seed, "duration": duration, "camera": camera, "fps": fps, "up": up, "smooth": smooth,
        "foot_lock": foot_lock, "leader_follows": follows or None,
    }  # fmt: skip
    document = asyncio.run(
        generate_files(
            fields, song, None, {"leader": leader}, format or ["npz", "bvh"], None, models, out, Settings(),
            Console(stderr=True),
        )
    )  # fmt: skip
    print_document(document, as_json)
