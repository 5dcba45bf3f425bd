"""Checks of a request against the length of its motion, which may be known only with its song."""

from choreo.errors import InvalidInput
from choreo.generators.constraints import check_length
from choreo.motion.clip import Motion
from choreo.motion.frame_rate import check_rate
from choreo.motion.resample import resampled_frames
from choreo.motion.skeleton import FPS
from serving.pipeline.request import MotionRequest
from serving.settings import Settings


def check_fits(request: MotionRequest, num_frames: int) -> None:
    """Check what is directed against a motion of `num_frames` at 30 fps.

    Raises:
        InvalidInput: a pose, span, path or prompt lies outside of it, or the file would have too many frames.
    """
    if request.constraints:
        start = request.start
        given = 0 if start is None else resampled_frames(start.num_frames, start.fps, FPS)
        check_length(request.constraints, given, num_frames)
    for i, segment in enumerate(request.segments):
        if segment.start * FPS >= num_frames:
            message = f"begins at {segment.start:g} s, and the motion lasts {num_frames / FPS:.2f} s"
            raise InvalidInput(f"segments.{i}.start", message)
    if request.fps is not None:
        check_rate(request.fps, num_frames, FPS)


def check_samples(number: int, num_frames: int, settings: Settings) -> None:
    """Check that all samples together are no longer than the longest motion that a request may ask for.

    Raises:
        InvalidInput: they are.
    """
    if number > 1 and number * num_frames > settings.max_seconds * FPS:
        each = num_frames / FPS
        raise InvalidInput(
            "num_samples",
            f"{number} dances of {each:.1f} s exceed the {settings.max_seconds:g} s that a request may ask for;"
            f" ask for at most {max(int(settings.max_seconds / each), 1)}",
        )


def check_start(start: Motion, num_frames: int) -> None:
    """Check that a motion to begin with, at whatever rate, is shorter than a dance of `num_frames` at 30 fps.

    Raises:
        InvalidInput: it is not.
    """
    if resampled_frames(start.num_frames, start.fps, FPS) >= num_frames:
        raise InvalidInput(
            "start",
            f"lasts {start.seconds:.2f} s and the dance {num_frames / FPS:.2f} s, which leaves nothing to generate",
        )
