"""`choreo phrases`: building phrase libraries, and looking into them."""

import asyncio
import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from choreo.motion.upright import AUTO, UP_HELP
from choreo.music.limits import FORMATS

app = typer.Typer(name="phrases", help="Build and search phrase libraries.", no_args_is_help=True)
stderr = Console(stderr=True)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@app.command()
def build(
    source: Annotated[Path, typer.Argument(help="Data pack, folder of motion files (npz, json, bvh), or one file.")],
    out: Annotated[Path, typer.Option(help="Folder of the library; an older one is replaced.")],
    append: Annotated[bool, typer.Option("--append", help="Extend the library instead.")] = False,
    beats: Annotated[str, typer.Option(help="Counts of a phrase: 8, 16, 32 or auto.")] = "auto",
    boundaries: Annotated[str, typer.Option(help="counts, novelty, pauses or auto.")] = "auto",
    licence: Annotated[str, typer.Option(help="Licence tag of recordings that have none.")] = "",
    genre: Annotated[str, typer.Option(help="Genre of recordings that have none.")] = "",
    text_encoder: Annotated[
        str, typer.Option(help="minilm, clip or t5: that of the model; auto: the extended library's, or minilm.")
    ] = "auto",
    index: Annotated[str, typer.Option(help="auto, flat or ivf.")] = "auto",
    up: Annotated[str, typer.Option(help=UP_HELP)] = AUTO,
    cleared: Annotated[bool, typer.Option("--cleared", help="Only what may train weights that are shipped.")] = False,
    as_json: Json = False,
) -> None:
    """Cut recordings into phrases and write a library; a build that was interrupted is resumed."""
    from serving.cli.build_phrases import BuildOptions
    from serving.cli.build_phrases import build as run_build

    options = BuildOptions(append, beats, boundaries, licence, genre, text_encoder, index, up, cleared)
    document = run_build(source, out, options, stderr)
    if as_json:
        print(json.dumps(document))
        return
    seconds = document["seconds"]["build"]
    print(f"{document['library']}: {document['phrases']} phrases, {document['added']} new, {seconds:.1f} s")


@app.command()
def bundle(out: Annotated[Path, typer.Option(help="Folder of the library.")], as_json: Json = False) -> None:
    """Make the library that ships with the program: synthetic dances, and samples of the shipped model."""
    from serving.cli.bundle_phrases import bundle as run_bundle
    from serving.settings import Settings

    report = asyncio.run(run_bundle(out, Settings()))
    document = {"library": str(out), "phrases": report.phrases, "frames": report.frames, "version": report.version}
    print(json.dumps(document) if as_json else f"{out}: {report.phrases} phrases")


@app.command()
def search(
    text: Annotated[str | None, typer.Argument(help="What to dance, in words.")] = None,
    song: Annotated[Path | None, typer.Option(help=f"Song: {FORMATS}.")] = None,
    features: Annotated[Path | None, typer.Option(help="Precomputed music features (.npy, 30 fps).")] = None,
    phrases: Annotated[Path | None, typer.Option(help="Phrase library; omitted: the default one.")] = None,
    top_n: Annotated[int, typer.Option(help="Most phrases to show.")] = 10,
    genre: Annotated[str | None, typer.Option(help="Only phrases of these genres, between commas.")] = None,
    licence: Annotated[str | None, typer.Option(help="Only under these licences, between commas.")] = None,
    min_tempo: Annotated[float | None, typer.Option(help="Only phrases of at least this tempo, BPM.")] = None,
    max_tempo: Annotated[float | None, typer.Option(help="Only phrases of at most this tempo, BPM.")] = None,
    variety: Annotated[float, typer.Option(help="0: the best phrases; up to 1: different ones.")] = 0.0,
    as_json: Json = False,
) -> None:
    """Show the phrases that a song or a prompt would be given as examples, best first."""
    from serving.cli.search_phrases import search_phrases, show
    from serving.settings import Settings

    fields = {
        "text_prompt": text, "top_n": top_n, "phrase_genre": genre, "phrase_licence": licence,
        "phrase_min_tempo": min_tempo, "phrase_max_tempo": max_tempo, "phrase_variety": variety,
    }  # fmt: skip
    document = asyncio.run(search_phrases(fields, song, features, phrases, Settings()))
    if as_json:
        print(json.dumps(document))
    else:
        show(document, Console())
