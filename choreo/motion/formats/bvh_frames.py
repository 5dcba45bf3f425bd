"""The MOTION section of a BVH file: frame rate and channel values, from untrusted text.

The rows say how many frames there are. A count that differs is noted, and values beyond the channels of a row are
passed over, as Blender's importer does; a file that ends inside a frame was cut off and is refused.
"""

import io
from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.errors import InvalidInput

Array = NDArray[np.float64]

MAX_NUMBER: Final = 1e9
CHUNK_CHARS: Final = 2**20
"""Characters that are split at a time."""
_MAX_TOKEN: Final = 64
_MAX_LINE: Final = 2**20


def read_frames(stream: io.StringIO, width: int, most: int, field: str) -> tuple[Array, float, tuple[str, ...]]:
    """Channel values (F, width), seconds per frame, and notes on what the file says differently.

    Args:
        stream: at the line after `MOTION`.
        width: channels of all joints.
        most: frames that are accepted.
        field: name of the file in errors.

    Raises:
        InvalidInput: no frame time, values that are no finite numbers, no frames or too many, or a last frame that is
            cut off.
    """
    declared, frame_time = _settings(stream, field)
    start = stream.tell()
    values = _values(stream, field)
    notes: tuple[str, ...] = ()
    if declared is not None and declared * width == len(values):
        frames = values.reshape(-1, width)
    else:
        stream.seek(start)
        frames, notes = _by_rows(values, _row_widths(stream), width, declared, field)
    if not 1 <= len(frames) <= most:
        raise InvalidInput(field, f"holds {len(frames)} frames; between 1 and {most} are accepted")
    return frames, frame_time, notes


def number(text: str, what: str, field: str) -> float:
    """A finite number.

    Raises:
        InvalidInput: it is none, or beyond MAX_NUMBER.
    """
    try:
        value = float(text)
    except ValueError as error:
        raise InvalidInput(field, f"{what} must be a number, got {text[:32]!r}") from error
    if not abs(value) <= MAX_NUMBER:
        raise InvalidInput(field, f"{what} must be a finite number, got {text[:32]!r}")
    return value


def _settings(stream: io.StringIO, field: str) -> tuple[int | None, float]:
    """The declared number of frames, None without one, and the seconds per frame."""
    declared: int | None = None
    for _ in range(2):
        line = "\n"
        while line and not line.strip():
            line = stream.readline(_MAX_LINE)
        words = line.replace(":", " ").split()
        if [word.lower() for word in words[:2]] == ["frame", "time"]:
            frame_time = number(" ".join(words[2:]), "Frame Time", field)
            if not frame_time > 0:
                raise InvalidInput(field, f"Frame Time must be positive, got {frame_time:g}")
            return declared, frame_time
        if words[:1] and words[0].lower() == "frames" and declared is None:
            value = number(" ".join(words[1:]), "Frames", field)
            if not value.is_integer():
                raise InvalidInput(field, f"Frames must be a whole number, got {value:g}")
            declared = int(value)
        else:
            break
    raise InvalidInput(field, "has no line 'Frame Time:' where one is needed: its speed is not known")


def _values(stream: io.StringIO, field: str) -> Array:
    """All numbers up to the end of the stream; line breaks need not coincide with frames."""
    pieces: list[Array] = []
    carry = ""
    while chunk := stream.read(CHUNK_CHARS):
        tokens = (carry + chunk).split()
        carry = "" if chunk[-1].isspace() else tokens.pop()
        if len(carry) > _MAX_TOKEN:
            raise InvalidInput(field, "holds a value that is not a number")
        pieces.append(_floats(tokens, field))
    pieces.append(_floats([carry] if carry else [], field))
    values = np.concatenate(pieces)
    if not (np.abs(values) <= MAX_NUMBER).all():
        raise InvalidInput(field, "holds NaN, infinite or absurdly large motion values")
    return values


def _floats(tokens: list[str], field: str) -> Array:
    try:
        return np.fromiter(map(float, tokens), np.float64, len(tokens))
    except ValueError as error:
        raise InvalidInput(field, "holds a motion value that is not a number") from error


def _row_widths(stream: io.StringIO) -> set[int]:
    """How many values the lines have that have any."""
    return {len(line.split()) for line in stream if not line.isspace()}


def _by_rows(
    values: Array, widths: set[int], width: int, declared: int | None, field: str
) -> tuple[Array, tuple[str, ...]]:
    """Frames of a file whose number of values is not the declared one."""
    if len(widths) == 1 and (row := next(iter(widths))) > width:
        note = f"has {row} values in a row for {width} channels; the rest were passed over"
        return values.reshape(-1, row)[:, :width], (note,)
    whole, rest = divmod(len(values), width)
    expected = "" if declared is None else f" of {declared} declared"
    if rest:
        raise InvalidInput(field, f"holds {whole} frames{expected} and ends inside the next: it is cut off or damaged")
    note = f"holds {whole} frames{expected}"
    return values.reshape(whole, width), () if declared is None else (note,)
