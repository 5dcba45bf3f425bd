"""The `choreo` command. Results go to standard output, progress and logs to standard error; bad input exits with 2."""

import asyncio
import json
import logging
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column, Table

from choreo.data.splits.split import HELD_OUT
from choreo.errors import ChoreoError, InvalidInput
from choreo.motion.upright import AUTO, UP_HELP
from choreo.music.limits import FORMATS
from serving.cli.compare import compare
from serving.cli.data import app as data_app
from serving.cli.extras import require
from serving.cli.given_beats import BEATS_HELP, DOWNBEATS_HELP, given_beats
from serving.cli.given_json import CONSTRAINTS_HELP, SEGMENTS_HELP, given_json
from serving.cli.models import app as models_app
from serving.cli.output import Json, print_document
from serving.cli.phrases import app as phrases_app
from serving.settings import LogSettings, Settings
from serving.util import logs
from serving.util.surroundings import prepare

app = typer.Typer(
    name="choreo",
    help="Turn songs and text prompts into 3-D dance motion.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(models_app)
app.add_typer(data_app)
app.add_typer(phrases_app, callback=lambda: require("cpu"))
app.command()(compare)
stderr = Console(stderr=True)
FORMATS_HELP = "json, npz, bvh, mp4, glb, amass, csv; may be repeated."


def main() -> None:
    """Entry point: typed errors become one line and exit code 2 (bad input) or 1 (anything else)."""
    if "train" not in sys.argv[1:2]:
        # Before torch is imported: its idle threads would spin and take the cores from inference.
        # A training has the machine to itself, and a third less time for a step when they do spin.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    logs.configure(logs.LogOptions())
    try:
        wanted = LogSettings()
        command = next((argument for argument in sys.argv[1:] if not argument.startswith("-")), "choreo")
        logs.configure(logs.LogOptions(wanted.log_format == "json", wanted.log_level, command))
        prepare()
        app()
    except (ChoreoError, OSError) as error:
        if not logs.say(f"choreo: {error}", logging.ERROR):
            stderr.print(f"[red]choreo:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(2 if isinstance(error, InvalidInput) else 1)


@app.command()
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
    if url is not None:
        from serving.cli.generate_remote import generate_files_from

        given = fields | {"model": model}
        document = generate_files_from(url, given, song, features, motions, formats, timeout, out, stderr)
        print_document(document, as_json)
        return
    require("cpu")
    from serving.cli.checkpoints import checkpoints
    from serving.cli.generate import generate_files

    settings = Settings()
    models = [] if model is None else checkpoints([model])
    document = asyncio.run(
        generate_files(fields, song, features, motions, formats, phrases, models, out, settings, stderr)
    )
    print_document(document, as_json)


@app.command()
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
    as_json: Json = False,
) -> None:
    """Dance a catalog of songs and prompts; the same command continues a run that was interrupted."""
    require(*(("serve",) if url is not None else ("cpu", "serve")))
    from serving.batch.run import BatchOptions
    from serving.cli.batch import dance_catalog, refuse_with_url

    given: dict[str, Any] = {"ray_address": ray_address, "phrases": phrases}
    given["triton_url"] = tuple(triton_url) if triton_url else None
    if url is not None:
        refuse_with_url(given | {"model": model})
    settings = Settings(**{k: v for k, v in given.items() if v is not None})
    models: tuple[Path, ...] = ()
    if model:
        from serving.cli.checkpoints import checkpoints

        models = tuple(checkpoints(model))
    options = BatchOptions(catalog, out, tuple(format or ()), preset, limit, retry_failed, models, url)
    raise typer.Exit(dance_catalog(options, settings, stderr, as_json))


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(metavar="IN", help="Motion: npz (also of SMPL poses), json, bvh.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="File to write; its suffix says the format.")],
    skeleton: Annotated[
        str | None, typer.Option(help="Joint names of bvh and glb: smpl, mixamo, vrm, unity, ue5.")
    ] = None,
    fps: Annotated[float | None, typer.Option(help="Frames per second, 1 to 120; omitted: those of IN.")] = None,
    in_place: Annotated[bool, typer.Option("--in-place", help="Take the travel over the floor out.")] = False,
    up: Annotated[str, typer.Option(help=UP_HELP)] = AUTO,
    as_json: Json = False,
) -> None:
    """Write a motion file in another format, with other joint names, or at another frame rate."""
    from serving.cli.convert import ConvertOptions, convert_file

    print_document(convert_file(source, out, ConvertOptions(skeleton, fps, in_place, up)), as_json)


@app.command()
def beats(
    song: Annotated[Path, typer.Argument(help=f"Song: {FORMATS}.")],
    tracker: Annotated[str, typer.Option(help="beatnet, librosa, beat_this or beat_this_bars.")] = "beatnet",
    as_json: Json = False,
) -> None:
    """Find the beats and bars of a song."""
    from serving.cli.beats import beats_document, hear_beats, print_beats

    heard = hear_beats(song, tracker, Settings())
    if as_json:
        print_document(beats_document(song, tracker, heard), as_json)
    else:
        print_beats(heard, Console())


@app.command()
def tags(
    song: Annotated[Path, typer.Argument(help=f"Song: {FORMATS}.")],
    model: Annotated[str, typer.Option(help="msd (genres and moods) or mtt (instruments and voices).")] = "msd",
    as_json: Json = False,
) -> None:
    """Find genre and mood of a song, and the dances of its tempo."""
    from serving.cli.tags import hear_song, print_tags, tags_document

    heard = hear_song(song, model, Settings())
    if as_json:
        print_document(tags_document(song, model, heard), as_json)
    else:
        print_tags(heard, Console())


@app.command()
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
            stderr.print(message, highlight=False, soft_wrap=True)
        stack.wait()


@app.command()
def demo(
    song: Annotated[Path | None, typer.Option(help="Song to dance to; omitted: one is synthesised.")] = None,
    text: Annotated[str, typer.Option(help="What to dance, in words.")] = "a dancer performs a cha-cha, with turns",
    duration: Annotated[float | None, typer.Option(help="Seconds; omitted: the whole song, up to the limit.")] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same motion.")] = 3,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("out/demo"),
    as_json: Json = False,
) -> None:
    """Start the whole stack, dance once through it, write film, motion and report, and stop everything."""
    require("cpu", "serve")
    from serving.cli.demo import run_demo

    print_document(run_demo(song, text, duration, seed, out, Settings(port=0), stderr), as_json)


@app.command()
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
    with Progress(TextColumn("{task.description}"), BarColumn(), console=stderr, transient=True) as bar:
        task = bar.add_task("exporting", total=None)

        def tuned(graph: Path, spec: GraphSpec) -> Tuning:
            bar.update(task, description="measuring engine options", total=1.0)
            return measure(graph, spec, lambda done: bar.update(task, completed=done))

        for folder in folders:
            bar.update(task, description=f"exporting {folder.name}", total=None)
            built.append(build_repository(folder, root, profile, precision, force=force, tune=tuned if tune else None))
    documents = [generator.document() for generator in built]
    print_document(documents[0] if len(documents) == 1 else {"models": documents}, as_json)


@app.command()
def train(
    recipe: Annotated[Path, typer.Argument(help="Recipe file, or a shipped one: cleared, everything, lcm, tmr-small.")],
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
    from choreo.training.recipe import TextMotionRecipe, load_recipe
    from choreo.training.run import train as run_training
    from retrieval.prior.training_priors import from_library

    logging.getLogger("choreo").setLevel(logging.INFO)
    read = load_recipe(recipe_file(recipe))
    licences = read.licences if isinstance(read, TextMotionRecipe) else read.data.licences
    with_priors = list if phrases is None else from_library(phrases, read.text_encoder, licences)
    folder = run_training(read.smoke() if smoke else read, data, out, until, with_priors, up)
    print_document({"checkpoint": str(folder)}, as_json)


@app.command()
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
    from serving.evaluation.report import print_tables, write_report

    if url is not None and checkpoint is not None:
        raise InvalidInput("url", "give a checkpoint or a server, not both")
    settings = Settings() if phrases is None else Settings(phrases=phrases)
    options = DanceOptions(preset, steps, guidance_scale, not no_rag, not raw)
    request = EvaluationRequest(
        data, checkpoint, url, samples, replications, options, up=up, split=split, licences=licences,
        beside=tuple(beside or ()),
    )  # fmt: skip
    found = asyncio.run(run_evaluation(request, settings))
    if report is not None:
        write_report(found, report)
    if as_json:
        print(json.dumps(found.document()))
    else:
        print_tables(found, Console())


@app.command(context_settings={"allow_extra_args": True, "allow_interspersed_args": False})
def bench(context: typer.Context, name: Annotated[str, typer.Argument(help="Benchmark, e.g. retrieval.")]) -> None:
    """Run a benchmark; options after its name are its own, and NAME --help lists them."""
    from serving.cli.bench import run_benchmark

    raise typer.Exit(run_benchmark(name, context.args))


_PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


@app.command(context_settings=_PASSED_ON)
def loadtest(context: typer.Context) -> None:
    """Load a running server with locust users or Poisson arrivals, and report latency, goodput and errors."""
    require("loadtest")
    # Replaces this process, so that signals and the exit code are the test's own, and locust patches nothing here.
    os.execv(sys.executable, [sys.executable, "-P", "-m", "loadtest", *context.args])


@app.command()
def doctor(as_json: Json = False) -> None:
    """Say what is installed, which profile would run, what is missing and how to get it."""
    from serving.cli.doctor import examine

    checks = examine(Settings())
    if as_json:
        print(json.dumps([check.document() for check in checks]))
    else:
        table = Table("", "part", Column("state", overflow="fold"), Column("what to do", overflow="fold"))
        for check in checks:
            mark = "[green]ok[/]" if check.ok else "[red]missing[/]" if check.required else "[yellow]optional[/]"
            table.add_row(mark, *map(escape, (check.part, check.state, check.advice)))
        Console().print(table)
    if not all(check.ok for check in checks if check.required):
        raise typer.Exit(1)


if __name__ == "__main__":
    main()
