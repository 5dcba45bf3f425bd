"""The commands about one file: `choreo convert`, `choreo beats` and `choreo tags`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from choreo.motion.upright import AUTO, UP_HELP
from choreo.music.limits import FORMATS
from serving.cli.output import Json, print_document
from serving.cli.rig_help import MAP_HELP, RIG_HELP
from serving.settings import Settings


def convert(
    source: Annotated[Path, typer.Argument(metavar="IN", help="Motion: npz (or SMPL poses), json, bvh, glb, vrma.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="File to write; its suffix says the format.")],
    skeleton: Annotated[
        str | None, typer.Option(help="Joint names of bvh, glb and fbx: smpl, mixamo, vrm, unity, ue5.")
    ] = None,
    fps: Annotated[float | None, typer.Option(help="Frames per second, 1 to 120; omitted: those of IN.")] = None,
    in_place: Annotated[bool, typer.Option("--in-place", help="Take the travel over the floor out.")] = False,
    up: Annotated[str, typer.Option(help=UP_HELP)] = AUTO,
    rig: Annotated[Path | None, typer.Option(help=RIG_HELP)] = None,
    map: Annotated[Path | None, typer.Option(help=MAP_HELP)] = None,
    size: Annotated[str | None, typer.Option(help="Of mp4 and gif: square, 720p or 1080p.")] = None,
    marks: Annotated[bool, typer.Option("--marks", help="In mp4 and gif: show feet that stand, and beats.")] = False,
    as_json: Json = False,
) -> None:
    """Write a motion file in another format, with other joint names, or at another frame rate."""
    from serving.cli.convert import ConvertOptions, convert_file

    options = ConvertOptions(skeleton, fps, in_place, up, rig, map, size, marks)
    print_document(convert_file(source, out, options), as_json)


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
