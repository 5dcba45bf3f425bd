"""What a finished request is reported as: files, facts and timings."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from choreo.errors import InvalidInput, NotSaved
from choreo.ffmpeg import ffmpeg_program
from choreo.files import appearing_together, disk_is_full
from choreo.motion.clip import Motion
from choreo.motion.formats.fbx import blender_program
from choreo.motion.formats.formats import Format, write
from choreo.motion.formats.view import Film, View
from choreo.motion.performance import Performance
from choreo.music.isolated import decode_soundtrack_isolated

if TYPE_CHECKING:  # takes seconds, and needs what a client of a server has no use for
    from serving.pipeline.results import Result


def report(result: "Result", files: list[Path]) -> dict[str, Any]:
    """The JSON document of `choreo generate --json`."""
    return {
        "files": [str(f) for f in files],
        "num_frames": result.num_frames,
        "fps": result.performance.fps,
        "seed": result.seed,
        "model": result.model,
        "notes": result.performance.meta["notes"],
        "prior": result.retrieved.document(),
        "phrases": result.retrieved.phrases(),
        "seconds": result.seconds,
    }


@contextmanager
def results_in(out: Path, formats: list[Format]) -> Iterator[Path]:
    """Yield a temporary folder for a command's files, which appear in `out` together or, if it fails, not at all.

    Raises:
        InvalidInput: `out` cannot be written.
        MissingDependency: a film is wanted and there is no ffmpeg, or FBX and there is no Blender.
        NotSaved: the disk is full.
    """
    if any(fmt.needs_audio for fmt in formats):
        ffmpeg_program()
    if any(fmt.needs_blender for fmt in formats):
        blender_program()
    with ExitStack() as stack:
        try:
            part = stack.enter_context(appearing_together(out))
        except OSError as error:
            raise InvalidInput("out", f"{out} cannot be written: {error.strerror}") from error
        try:
            yield part
            stack.close()
        except OSError as error:
            if not disk_is_full(error):
                raise
            raise NotSaved(f"the results could not be written to {out}: {error.strerror}; make room") from error


def write_files(
    motion: Motion | Performance,
    folder: Path,
    names: Mapping[str, Format],
    song: bytes | None,
    title: str,
    view: View | Film = View.FOLLOW,
) -> None:
    """Write the motion under names, each in its format; films have the song as their sound.

    Raises:
        ChoreoError: as `choreo.motion.formats.formats.write` and `decode_soundtrack_isolated`.
    """
    for name, fmt in names.items():
        heard = fmt.needs_audio and song is not None
        sound = decode_soundtrack_isolated(song, motion.seconds) if heard and song is not None else None
        write(motion, fmt, folder / name, sound, title, view)


def file_names(formats: list[Format]) -> dict[str, Format]:
    """`motion.*` for each format; the film is `preview.mp4`."""
    return {f"{'preview' if fmt.needs_audio else 'motion'}{fmt.suffix}": fmt for fmt in formats}
