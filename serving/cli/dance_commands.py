"""The commands that make dances: `choreo generate` and `choreo batch`."""

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from choreo.errors import InvalidInput
from choreo.motion.upright import AUTO, UP_HELP
from choreo.music.limits import FORMATS
from serving.cli.extras import require
from serving.cli.given_beats import BEATS_HELP, DOWNBEATS_HELP, given_beats
from serving.cli.given_json import CONSTRAINTS_HELP, SEGMENTS_HELP, given_json
from serving.cli.output import Json, print_document
from serving.cli.rig_help import MAP_HELP, RIG_HELP
from serving.settings import Settings

FORMATS_HELP = "json, npz, bvh, mp4, glb, amass, csv, vrma, fbx; may be repeated."


def generate(
    text: Annotated[str | None, typer.Option(help="What to dance, in words.")] = None,
    song: Annotated[Path | None, typer.Option(help=f"Song: {FORMATS}.")] = None,
    features: Annotated[Path | None, typer.Option(help="Precomputed music features (.npy, 30 fps).")] = None,
    duration: Annotated[float | None, typer.Option(help="Seconds; omitted: the whole song, or one window.")] = None,
    bpm: Annotated[float | None, typer.Option(help="Tempo of the song; its beats are a strict grid.")] = None,
    beats: Annotated[str | None, typer.Option(help=BEATS_HELP)] = None,
    downbeats: Annotated[str | None, typer.Option(help=DOWNBEATS_HELP)] = None,
    half_time: Annotated[bool, typer.Option("--half-time", help="Use every second beat of the song.")] = False,
    preset: Annotated[str, typer.Option(help="reference, fast or draft.")] = "reference",
    steps: Annotated[int | None, typer.Option(help="Denoising steps, if not the preset's.")] = None,
    sampler: Annotated[str | None, typer.Option(help="ddim, ddpm, dpm++2m or lcm, if not the preset's.")] = None,
    guidance_scale: Annotated[float, typer.Option(help="Classifier-free guidance.")] = 2.5,
    text_guidance: Annotated[float | None, typer.Option(help="Of the prompt, if not guidance_scale.")] = None,
    music_guidance: Annotated[float | None, typer.Option(help="Of song and phrases, if not guidance_scale.")] = None,
    guidance_low: Annotated[float | None, typer.Option(help="Lowest noise, 0 to 1, at which guidance acts.")] = None,
    guidance_high: Annotated[float | None, typer.Option(help="Highest noise at which it acts.")] = None,
    seed: Annotated[int | None, typer.Option(help="Same seed, same motion.")] = None,
    format: Annotated[list[str] | None, typer.Option(help=FORMATS_HELP)] = None,
    camera: Annotated[str, typer.Option(help="Of an mp4: follow the dancers, or fixed.")] = "follow",
    phrases: Annotated[Path | None, typer.Option(help="Phrase library.")] = None,
    phrase_genre: Annotated[str | None, typer.Option(help="Only phrases of these genres, between commas.")] = None,
    phrase_licence: Annotated[str | None, typer.Option(help="Only under these licences, between commas.")] = None,
    phrase_min_tempo: Annotated[float | None, typer.Option(help="Only phrases of at least this tempo, BPM.")] = None,
    phrase_max_tempo: Annotated[float | None, typer.Option(help="Only phrases of at most this tempo, BPM.")] = None,
    phrase_variety: Annotated[float, typer.Option(help="0: the best phrases; up to 1: different ones.")] = 0.0,
    no_rag: Annotated[bool, typer.Option("--no-rag", help="Do without retrieved phrases.")] = False,
    start: Annotated[Path | None, typer.Option(help="Motion (npz, json, bvh) to begin with.")] = None,
    end: Annotated[Path | None, typer.Option(help="Motion to end with.")] = None,
    clip: Annotated[Path | None, typer.Option(help="Motion that constraints take spans or poses of.")] = None,
    constraints: Annotated[Path | None, typer.Option(help=CONSTRAINTS_HELP)] = None,
    segments: Annotated[Path | None, typer.Option(help=SEGMENTS_HELP)] = None,
    fps: Annotated[float | None, typer.Option(help="Frames per second of the files, 1 to 120.")] = None,
    up: Annotated[str, typer.Option(help=UP_HELP)] = AUTO,
    model: Annotated[
        str | None, typer.Option(help="Name of a shipped generator, or a checkpoint folder; with --url, a served one.")
    ] = None,
    url: Annotated[
        str | None, typer.Option(help="Running server that makes the dance; CHOREO_API_KEY has its key.")
    ] = None,
    timeout: Annotated[float | None, typer.Option(help="With --url: seconds until the dance is of no use.")] = None,
    smooth: Annotated[bool, typer.Option(help="Take jitter out.")] = True,
    bone_lengths: Annotated[bool, typer.Option(help="Make the body rigid.")] = True,
    foot_lock: Annotated[bool, typer.Option(help="Hold planted feet still.")] = True,
    on_beat: Annotated[
        bool | None, typer.Option(help="Move pauses to the beats; omitted: where the beats are sure.")
    ] = None,
    num_samples: Annotated[int, typer.Option(help="Make so many dances and keep the best one.")] = 1,
    rig: Annotated[Path | None, typer.Option(help=RIG_HELP)] = None,
    map: Annotated[Path | None, typer.Option(help=MAP_HELP)] = None,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("out"),
    as_json: Json = False,
) -> None:
    """Make one dance in this process, without servers, or have a running server make it."""
    if url is not None and phrases is not None:
        raise InvalidInput("phrases", "is for dances made here; a server has the library that it was started with")
    if url is None and timeout is not None:
        raise InvalidInput("timeout", "is for --url; a dance that is made here can be interrupted")
    fields = {
        "text_prompt": text, "duration": duration, "bpm": bpm, "beats": None if beats is None else given_beats(beats),
        "downbeats": None if downbeats is None else given_beats(downbeats, "downbeats"),
        "half_time": half_time or None, "guidance_scale": guidance_scale, "num_steps": steps,
        "text_guidance": text_guidance, "music_guidance": music_guidance,
        "guidance_low": guidance_low, "guidance_high": guidance_high, "sampler": sampler, "preset": preset,
        "seed": seed, "camera": camera, "up": up, "use_rag": not no_rag, "smooth": smooth, "bone_lengths": bone_lengths,
        "foot_lock": foot_lock, "on_beat": on_beat, "num_samples": num_samples,
        "phrase_genre": phrase_genre, "phrase_licence": phrase_licence,
        "phrase_min_tempo": phrase_min_tempo, "phrase_max_tempo": phrase_max_tempo, "phrase_variety": phrase_variety,
        "constraints": given_json("constraints", constraints), "segments": given_json("segments", segments), "fps": fps,
    }  # fmt: skip
    motions = {name: path for name, path in (("start", start), ("end", end), ("clip", clip)) if path is not None}
    formats = format or ["npz", "bvh"]
    character = None
    if rig is not None or map is not None:
        from serving.cli.own_rig import given_character

        character = given_character(rig, map)
    if url is not None:
        from serving.cli.generate_remote import generate_files_from

        given, console = fields | {"model": model}, Console(stderr=True)
        document = generate_files_from(
            url, given, song, features, motions, formats, timeout, out, console, character=character
        )
        print_document(document, as_json)
        return
    require("cpu")
    from serving.cli.checkpoints import checkpoints
    from serving.cli.generate import generate_files

    settings = Settings()
    models = [] if model is None else checkpoints([model])
    document = asyncio.run(
        generate_files(
            fields, song, features, motions, formats, phrases, models, out, settings, Console(stderr=True), character
        )
    )
    print_document(document, as_json)


def batch(
    catalog: Annotated[str, typer.Argument(help="JSONL, CSV or Parquet file, folder or glob of songs; or an address.")],
    out: Annotated[str, typer.Option(help="Folder or address for the results; an unfinished run in it is continued.")],
    format: Annotated[list[str] | None, typer.Option(help=FORMATS_HELP)] = None,
    preset: Annotated[str | None, typer.Option(help="reference, fast or draft, for rows that name none.")] = None,
    ray_address: Annotated[str | None, typer.Option(help="Run on this Ray cluster.")] = None,
    triton_url: Annotated[list[str] | None, typer.Option(help="gRPC address of a running Triton; repeatable.")] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="Shipped generator or checkpoint folder, the default first; repeatable.")
    ] = None,
    phrases: Annotated[Path | None, typer.Option(help="Phrase library.")] = None,
    url: Annotated[str | None, typer.Option(help="Running server that dances; CHOREO_API_KEY has its key.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Try at most so many items now.")] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try items again that failed.")] = False,
    rig: Annotated[Path | None, typer.Option(help=RIG_HELP)] = None,
    map: Annotated[Path | None, typer.Option(help=MAP_HELP)] = None,
    as_json: Json = False,
) -> None:
    """Dance a catalog of songs and prompts; the same command continues a run that was interrupted."""
    require(*(("serve",) if url is not None else ("cpu", "serve")))
    from serving.batch.run import BatchOptions
    from serving.cli.batch import dance_catalog, refuse_with_url
    from serving.cli.own_rig import given_character

    given: dict[str, Any] = {"ray_address": ray_address, "phrases": phrases}
    given["triton_url"] = tuple(triton_url) if triton_url else None
    if url is not None:
        refuse_with_url(given | {"model": model})
    settings = Settings(**{k: v for k, v in given.items() if v is not None})
    models: tuple[Path, ...] = ()
    if model:
        from serving.cli.checkpoints import checkpoints

        models = tuple(checkpoints(model))
    formats, character = tuple(format or ()), given_character(rig, map)
    options = BatchOptions(catalog, out, formats, preset, limit, retry_failed, models, url, character)
    raise typer.Exit(dance_catalog(options, settings, Console(stderr=True), as_json))
