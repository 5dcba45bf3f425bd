"""The commands that start the whole stack: `choreo serve` and `choreo demo`."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from choreo.shipped import checkpoint_folder
from serving.cli.extras import require
from serving.cli.output import Json, print_document
from serving.settings import Settings
from serving.util import logs


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 chooses a free one.")] = None,
    triton_url: Annotated[list[str] | None, typer.Option(help="gRPC address of a running Triton; repeatable.")] = None,
    phrases: Annotated[Path | None, typer.Option(help="Phrase library.")] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="Shipped generator or checkpoint folder, the default first; repeatable.")
    ] = None,
) -> None:
    """Serve over HTTP until interrupted: Ray Serve in front, Triton behind."""
    require("cpu", "serve")
    from serving.cli.checkpoints import checkpoints
    from serving.ray.stack import Stack

    given: dict[str, Any] = {"host": host, "port": port, "phrases": phrases}
    given["triton_url"] = tuple(triton_url) if triton_url else None
    given["models"] = tuple(checkpoints(model)) if model else None
    settings = Settings(**{k: v for k, v in given.items() if v is not None})
    with Stack(settings) as stack:
        message = f"serving on {stack.url}  (docs: {stack.url}/docs)  Ctrl-C stops it"
        if not logs.say(message):
            Console(stderr=True).print(message, highlight=False, soft_wrap=True)
        stack.wait()


def demo(
    song: Annotated[Path | None, typer.Option(help="Song to dance to; omitted: one is synthesised.")] = None,
    text: Annotated[str, typer.Option(help="What to dance, in words.")] = "a dancer performs a cha-cha, with turns",
    duration: Annotated[float | None, typer.Option(help="Seconds; omitted: the whole song, up to the limit.")] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same motion.")] = 3,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("out/demo"),
    model: Annotated[str | None, typer.Option(help="Shipped weights by name, or a checkpoint folder.")] = None,
    as_json: Json = False,
) -> None:
    """Start the whole stack, dance once through it, write film, motion and report, and stop everything."""
    require("cpu", "serve")
    from serving.cli.demo import run_demo

    settings = Settings(port=0) if model is None else Settings(port=0, weights=checkpoint_folder(model))
    print_document(run_demo(song, text, duration, seed, out, settings, Console(stderr=True)), as_json)
