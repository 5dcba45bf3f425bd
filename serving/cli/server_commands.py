"""The commands that start the whole stack: `choreo serve`, `choreo studio` and `choreo demo`."""

import webbrowser
from collections.abc import Callable
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
    from serving.cli.checkpoints import checkpoints

    given: dict[str, Any] = {"host": host, "port": port, "phrases": phrases}
    given["triton_url"] = tuple(triton_url) if triton_url else None
    given["models"] = tuple(checkpoints(model)) if model else None
    _serve(given, lambda url: f"serving on {url}  (docs: {url}/docs)  Ctrl-C stops it")


def studio(
    port: Annotated[int | None, typer.Option(help="Port; 0 chooses a free one.")] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="Shipped generator or checkpoint folder, the default first; repeatable.")
    ] = None,
    browser: Annotated[bool, typer.Option(help="Open the page in the browser.")] = True,
) -> None:
    """Serve, and open the studio in the browser: drop a song, watch and hear the dance."""
    from serving.cli.checkpoints import checkpoints

    def ready(url: str) -> str:
        page = f"{url}/studio"
        opened = browser and webbrowser.open(page)
        return f"the studio is {'open' if opened else 'ready'} at {page}  Ctrl-C stops it"

    _serve({"port": port, "models": tuple(checkpoints(model)) if model else None}, ready)


def _serve(given: dict[str, Any], ready: Callable[[str], str]) -> None:
    """Serve with these settings until interrupted; `ready` is given the address, and says what the user is told."""
    require("cpu", "serve")
    from serving.ray.stack import Stack

    settings = Settings(**{name: value for name, value in given.items() if value is not None})
    with Stack(settings) as stack:
        message = ready(stack.url)
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
    stay: Annotated[bool, typer.Option(help="Go on serving after the dance, with the studio, until Ctrl-C.")] = False,
    as_json: Json = False,
) -> None:
    """Start the whole stack, dance once through it, write film, motion and report, and stop everything."""
    require("cpu", "serve")
    from serving.cli.demo import run_demo

    settings = Settings(port=0) if model is None else Settings(port=0, weights=checkpoint_folder(model))
    print_document(run_demo(song, text, duration, seed, out, settings, Console(stderr=True), stay), as_json)
