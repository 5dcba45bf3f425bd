"""A performance as an MP4 preview: painted frames piped to ffmpeg, with the song as its sound."""

import os
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from choreo.errors import ChoreoError, InvalidInput, MissingDependency
from choreo.files import replacing
from choreo.motion.clip import Motion
from choreo.motion.performance import Performance

SIZE: Final = (640, 640)
QUALITY: Final = 20
"""x264's constant rate factor."""
AUDIO_TIMEOUT_S: Final = 120.0
"""Longest time that decoding the audio may take."""
BASE_TIMEOUT_S: Final = 60.0
SECONDS_PER_FRAME: Final = 0.5
"""The encoder is killed as stuck after BASE_TIMEOUT_S plus this time per frame."""
_TAIL: Final = 600


class PreviewFailed(ChoreoError, RuntimeError):
    """The video encoder failed; the message ends with its error output."""


def film_bytes(dance: Motion | Performance, audio: Path | None = None, title: str = "") -> bytes:
    """The video of `write_preview` as bytes. It is a file first: the index at the front needs a second pass.

    Raises:
        ChoreoError: as `write_preview` does.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "preview.mp4"
        write_preview(dance, path, audio, title)
        return path.read_bytes()


def write_preview(
    dance: Motion | Performance,
    path: Path,
    audio: Path | None = None,
    title: str = "",
    progress: Callable[[int, int], None] | None = None,
    size: tuple[int, int] = SIZE,
) -> None:
    """Write a video of all dancers in one scene to `path`, whole or not at all.

    Args:
        dance: what to show; the video has its frame rate and its length.
        path: the .mp4 file.
        audio: song in any format that ffmpeg reads; cut to the motion's length.
        title: one line at the top of the image.
        progress: called with (frames done, frames in all); what it raises cancels the work.
        size: width and height in pixels, both even.

    Raises:
        InvalidInput: the audio is not a file or cannot be decoded, or the size is odd.
        MissingDependency: there is no ffmpeg.
        PreviewFailed: encoding failed.
        OSError: `path` cannot be written.
    """
    if any(side % 2 or not 16 <= side <= 4096 for side in size):
        raise InvalidInput("size", f"must be even numbers of pixels between 16 and 4096, got {size}")
    from choreo.motion.formats.camera import frame_dancers
    from choreo.motion.formats.preview import Painter  # only processes that draw load the drawing library

    ffmpeg, performance = _ffmpeg(), Performance.of(dance)
    with replacing(path) as video, tempfile.TemporaryDirectory() as folder:
        sound = None if audio is None else _soundtrack(ffmpeg, audio, performance.seconds, Path(folder) / "sound.m4a")
        painter = Painter(performance, frame_dancers(performance.positions, size), title)
        with _encoder(ffmpeg, performance, size, sound, video) as frames:
            for index in range(performance.num_frames):
                frames.write(painter.paint(index).tobytes())
                if progress is not None:
                    progress(index + 1, performance.num_frames)


def _ffmpeg() -> str:
    import imageio_ffmpeg

    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise MissingDependency("no ffmpeg program was found; reinstall the package imageio-ffmpeg") from error


def _soundtrack(ffmpeg: str, audio: Path, seconds: float, target: Path) -> Path:
    """Encode the first `seconds` of a song as AAC, in a run of its own so that its errors are known to be the song's.

    ffmpeg gets the song as an open descriptor and may open nothing but descriptors, so a playlist or concat script in
    place of a song cannot pull in other files or addresses, and no file name is taken for an option.
    """
    if not audio.is_file():
        raise InvalidInput("audio", f"{audio.name!r} is not a file")
    with audio.open("rb") as song:
        command = [ffmpeg, "-nostdin", "-loglevel", "error", "-y", "-protocol_whitelist", "fd"]
        command += ["-fd", str(song.fileno()), "-i", "fd:", "-map", "0:a:0", "-t", f"{seconds:.6f}"]
        command += ["-map_metadata", "-1", "-ac", "2", "-c:a", "aac", "-b:a", "160k", "-f", "mp4", str(target)]
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                pass_fds=(song.fileno(),),
                timeout=AUDIO_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise InvalidInput("audio", f"{audio.name!r} takes too long to decode") from error
    if done.returncode:
        reason = _output(done.stderr).splitlines()[0][:200]  # later lines name files of this machine
        raise InvalidInput("audio", f"{audio.name!r} holds no audio that can be decoded: {reason}")
    return target


@contextmanager
def _encoder(
    ffmpeg: str, performance: Performance, size: tuple[int, int], sound: Path | None, video: Path
) -> Iterator[IO[bytes]]:
    """Yield a pipe for raw RGB frames; leaving the block finishes the file, an exception in it kills ffmpeg."""
    command = [ffmpeg, "-loglevel", "error", "-y", "-nostdin", "-f", "rawvideo", "-pixel_format", "rgb24"]
    command += ["-video_size", f"{size[0]}x{size[1]}", "-framerate", f"{performance.fps:.6f}", "-i", "pipe:0"]
    if sound is not None:
        command += ["-i", str(sound.absolute()), "-map", "0:v:0", "-map", "1:a:0", "-c:a", "copy"]
    command += ["-t", f"{performance.seconds:.6f}", "-c:v", "libx264", "-threads", "2", "-preset", "veryfast"]
    command += ["-crf", str(QUALITY), "-pix_fmt", "yuv420p", "-movflags", "+faststart"]
    command += ["-f", "mp4", str(video.absolute())]
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
