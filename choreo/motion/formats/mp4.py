"""A performance as an MP4 preview: painted frames piped to ffmpeg, with decoded sound."""

import errno
import os
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from choreo.errors import ChoreoError, InvalidInput, NotSaved
from choreo.ffmpeg import ffmpeg_program
from choreo.files import replacing
from choreo.motion.clip import Motion
from choreo.motion.formats.sound import FILM_RATE, Sound
from choreo.motion.formats.view import SIZES, Film, View
from choreo.motion.performance import Performance

SIZE: Final = SIZES["square"]
QUALITY: Final = 20
"""x264's constant rate factor."""
_H264: Final = (
    *("-c:v", "libx264", "-threads", "2", "-preset", "veryfast", "-crf", str(QUALITY)),
    *("-pix_fmt", "yuv420p", "-movflags", "+faststart", "-f", "mp4"),
)
BASE_TIMEOUT_S: Final = 60.0
SECONDS_PER_FRAME: Final = 0.5
"""The encoder is killed as stuck after BASE_TIMEOUT_S plus this time per frame."""
_TAIL: Final = 600


class PreviewFailed(ChoreoError, RuntimeError):
    """The video encoder failed; the message ends with its error output."""


def film_bytes(
    dance: Motion | Performance, sound: Sound | None = None, title: str = "", view: View | Film = View.FOLLOW
) -> bytes:
    """The video of `write_preview` as bytes. It is a file first: the index at the front needs a second pass.

    Raises:
        ChoreoError: as `write_preview` does.
    """
    film = view if isinstance(view, Film) else Film(view)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "preview.mp4"
        write_preview(dance, path, sound, title, size=film.size, view=film.view, marks=film.marks)
        return path.read_bytes()


def write_preview(
    dance: Motion | Performance,
    path: Path,
    sound: Sound | None = None,
    title: str = "",
    progress: Callable[[int, int], None] | None = None,
    size: tuple[int, int] = SIZE,
    view: View = View.FOLLOW,
    labels: Sequence[str] = (),
    marks: bool = False,
) -> None:
    """Write a video of all dancers in one scene to `path`, whole or not at all.

    Args:
        dance: what to show; the video has its frame rate and its length.
        path: the .mp4 file.
        sound: what is heard from the first frame on; cut to the motion's length.
        title: one line at the top of the image.
        progress: called with (frames done, frames in all); what it raises cancels the work.
        size: width and height in pixels, both even.
        view: whether the camera follows the dancers or stands where it sees all of their path.
        labels: shown above the heads, one per dancer; none without any.
        marks: whether feet that stand and beats are marked, see `marks`.

    Raises:
        InvalidInput: the size is odd, or there are labels, but not one per dancer.
        MissingDependency: there is no ffmpeg.
        PreviewFailed: encoding failed.
        NotSaved: the disk is full.
        OSError: `path` cannot be written.
    """
    with _raw(sound) as track:
        heard: list[str] = []
        if track is not None:
            heard = ["-f", "s16le", "-ar", str(FILM_RATE), "-ac", "2", "-i", str(track.absolute())]
            heard += ["-map", "0:v:0", "-map", "1:a:0", "-c:a", "aac", "-b:a", "160k"]
        seconds = Performance.of(dance).seconds
        write_film(
            dance, path, [*heard, "-t", f"{seconds:.6f}", *_H264], Film(view, size, marks), title, labels, progress
        )  # fmt: skip


def write_film(
    dance: Motion | Performance,
    path: Path,
    encoding: Sequence[str],
    film: Film,
    title: str = "",
    labels: Sequence[str] = (),
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Paint all frames and have ffmpeg encode them, whole or not at all.

    Args:
        encoding: arguments of ffmpeg between the frames and the file: further inputs, filters, encoders and format.
        film: how it is taken.

    The other arguments and the errors are those of `write_preview`.
    """
    size = film.size
    if any(side % 2 or not 16 <= side <= 4096 for side in size):
        raise InvalidInput("size", f"must be even numbers of pixels between 16 and 4096, got {size}")
    from choreo.motion.formats.camera import frame_dancers  # only processes that draw load what draws
    from choreo.motion.formats.preview import Painter

    ffmpeg, performance = ffmpeg_program(), Performance.of(dance)
    with replacing(path) as video:
        camera = frame_dancers(performance.positions, size, film.view, performance.fps)
        painter = Painter(performance, camera, title, labels, film.marks)
        with _encoder(ffmpeg, performance, size, encoding, video) as frames:
            for index in range(performance.num_frames):
                frames.write(painter.paint(index).tobytes())
                if progress is not None:
                    progress(index + 1, performance.num_frames)


@contextmanager
def _raw(sound: Sound | None) -> Iterator[Path | None]:
    """Yield a file with the sound's bare samples, which leave ffmpeg nothing to recognise or to decode."""
    if sound is None:
        yield None
        return
    with tempfile.NamedTemporaryFile(prefix="choreo-sound-") as file:
        file.write(sound.samples.astype("<i2", order="C").data)
        file.flush()
        yield Path(file.name)


@contextmanager
def _encoder(
    ffmpeg: str, performance: Performance, size: tuple[int, int], encoding: Sequence[str], video: Path
) -> Iterator[IO[bytes]]:
    """Yield a pipe for raw RGB frames; leaving the block finishes the file, an exception in it kills ffmpeg."""
    command = [ffmpeg, "-loglevel", "error", "-y", "-nostdin", "-f", "rawvideo", "-pixel_format", "rgb24"]
    command += ["-video_size", f"{size[0]}x{size[1]}", "-framerate", f"{performance.fps:.6f}", "-i", "pipe:0"]
    command += [*encoding, str(video.absolute())]
    with tempfile.TemporaryFile() as log:  # a pipe that is not read would block ffmpeg
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=log)
        watchdog = threading.Timer(BASE_TIMEOUT_S + SECONDS_PER_FRAME * performance.num_frames, process.kill)
        watchdog.daemon = True
        watchdog.start()
        try:
            assert process.stdin is not None
            try:
                yield process.stdin
                process.stdin.close()
                failed = process.wait() != 0
            except BrokenPipeError:
                failed = True
            if failed:
                process.wait()
                log.seek(max(0, log.seek(0, os.SEEK_END) - 4 * _TAIL))
                said = _output(log.read())[-_TAIL:]
                if os.strerror(errno.ENOSPC) in said:
                    raise NotSaved(f"there is no room for the video in {video.parent}; make room")
                raise PreviewFailed(f"ffmpeg could not encode the video (exit status {process.returncode}): {said}")
        finally:
            watchdog.cancel()
            process.kill()
            _close_quietly(process)


def _close_quietly(process: subprocess.Popen[bytes]) -> None:
    """Wait for the process to end and drop what is left in the pipe's buffer."""
    process.wait()
    try:
        if process.stdin is not None:
            process.stdin.close()
    except OSError:
        pass


def _output(stderr: bytes) -> str:
    return stderr.decode("utf-8", "replace").strip() or "it said nothing"
