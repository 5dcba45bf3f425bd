"""The fields of a request that direct a motion: key poses, held spans, a path, a loop, and prompts over time.

Their shapes are checked here; what they mean is checked in `choreo.generators.constraints`.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from choreo.errors import InvalidInput
from choreo.generators.constraints import FREE, Constraints, KeyPose, at_fps, check_constraints, key_pose
from choreo.motion.clip import MAX_FRAMES, Motion
from choreo.motion.skeleton import FPS
from choreo.text.prompts import check_text

STRUCTURED: Final = frozenset({"constraints", "segments"})
"""Fields that are JSON objects or lists of them."""
MAX_TEXT: Final = 1 << 20
"""Characters of such a field where it is text, as in a form, a table or a file."""
MAX_SEPARATORS: Final = 8192
"""Commas, colons and opening brackets of such a text, as in a JSON body."""
MAX_DEPTH: Final = 6
"""Levels of lists and objects within such a field."""
MAX_ITEMS: Final = 64
MAX_POINTS: Final = 2000
MAX_SECONDS: Final = MAX_FRAMES / FPS
CONSTRAINTS: Final = "constraints"


class KeyframeFields(BaseModel):
    """A pose at one frame or second."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    frame: int | None = Field(None, description="Frame at 30 fps, from 0; or give a time.")
    time: float | None = Field(None, description="Seconds; the nearest frame is taken.")
    pose: list[list[float]] | None = Field(None, description="22 joints with x, y, z, metres, y up; or a clip_frame.")
    clip_frame: int | None = Field(None, description="Frame of the clip, at 30 fps, whose pose is taken.")


class ConstraintFields(BaseModel):
    """What the motion must keep to, in metres on the floor y = 0."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    keyframes: list[KeyframeFields] = Field([], max_length=MAX_ITEMS, description="Single poses.")
    hold: list[list[int]] = Field(
        [],
        max_length=MAX_ITEMS,
        description="Spans [first, last] of the clip, frames at 30 fps, that stay as they are.",
    )
    path: list[list[float]] = Field(
        [], max_length=MAX_POINTS, description="Way of the root over the floor: [seconds, x, z], ascending."
    )
    loop: bool = Field(False, description="Lead the last pose into the first.")
    in_place: bool = Field(False, description="Keep the root over one spot.")


class SegmentFields(BaseModel):
    """A prompt for a part of the motion."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    start: float = Field(description="Seconds.")
    end: float = Field(description="Seconds.")
    text: str = Field(description="What to dance, in words.")


@dataclass(frozen=True)
class Segment:
    """A checked prompt from `start` to `end`, seconds."""

    start: float
    end: float
    text: str


def structured(name: str, text: str) -> Any:
    """The value of a field of `STRUCTURED` that comes as JSON text.

    Raises:
        InvalidInput: it is no JSON, or too much of it.
    """
    if len(text) > MAX_TEXT or sum(map(text.count, ",:[{")) > MAX_SEPARATORS:
        raise InvalidInput(name, f"has more than {MAX_TEXT >> 20} MiB or {MAX_SEPARATORS} members and items")

    def refuse(constant: str) -> NoReturn:
        raise InvalidInput(name, f"must be finite, got {constant}")

    try:
        value = json.loads(text, parse_constant=refuse)
    except InvalidInput:
        raise
    except (ValueError, RecursionError) as error:
        raise InvalidInput(name, "is not valid JSON") from error
    check_depth(name, value)
    return value


def check_depth(name: str, value: Any, depth: int = MAX_DEPTH) -> None:
    """Check that a field is no deeper than any of its kind.

    Raises:
        InvalidInput: it is.
    """
    if not isinstance(value, dict | list):
        return
    if not depth:
        raise InvalidInput(name, f"has more than {MAX_DEPTH} levels of lists and objects")
    for item in value.values() if isinstance(value, dict) else value:
        check_depth(name, item, depth - 1)


def made_constraints(fields: ConstraintFields | None, clip: Motion | None, end: Motion | None) -> Constraints:
    """Constraints of the fields and the motions that came with them.

    Raises:
        InvalidInput: an item is wrong; the field names it, as `constraints.keyframes.2.pose`.
    """
    if fields is None:
        fields = ConstraintFields()
    poses = _key_poses(fields.keyframes, clip)
    hold = tuple(_span(f"{CONSTRAINTS}.hold.{i}", span) for i, span in enumerate(fields.hold))
    if clip is not None and not hold and all(item.clip_frame is None for item in fields.keyframes):
        raise InvalidInput("clip", "is of no use without constraints.hold or a clip_frame in constraints.keyframes")
    made = Constraints(end, poses, clip, hold, _path(fields.path), fields.loop, fields.in_place)
    if not made:
        return FREE
    check_constraints(made)
    return made


def made_segments(fields: Sequence[SegmentFields] | None, max_chars: int) -> tuple[Segment, ...]:
    """Prompts over time, ascending.

    Raises:
        InvalidInput: a prompt is unusable, a span is empty, or two overlap.
    """
    out: list[Segment] = []
    for i, item in enumerate(fields or ()):
        field = f"segments.{i}"
        for name, value in (("start", item.start), ("end", item.end)):
            if not 0 <= value <= MAX_SECONDS:
                raise InvalidInput(f"{field}.{name}", f"must be 0 to {MAX_SECONDS:g} seconds, got {value}")
        if item.end <= item.start:
            raise InvalidInput(f"{field}.end", f"is {item.end:g} s, not after its start at {item.start:g} s")
        if out and item.start < out[-1].end:
            raise InvalidInput(field, f"begins at {item.start:g} s, before the one ahead ends at {out[-1].end:g} s")
        out.append(Segment(item.start, item.end, check_text(item.text, f"{field}.text", max_chars)))
    return tuple(out)


def _key_poses(items: Sequence[KeyframeFields], clip: Motion | None) -> tuple[KeyPose, ...]:
    poses = [_key_pose(f"{CONSTRAINTS}.keyframes.{i}", item, clip) for i, item in enumerate(items)]
    return tuple(sorted(poses, key=lambda pose: pose.frame))


def _key_pose(field: str, item: KeyframeFields, clip: Motion | None) -> KeyPose:
    if (item.frame is None) == (item.time is None):
        raise InvalidInput(field, "needs a frame or a time, and not both")
    if (item.pose is None) == (item.clip_frame is None):
        raise InvalidInput(field, "needs a pose or a clip_frame, and not both")
    frame = item.frame
    if item.time is not None:
        if not 0 <= item.time <= MAX_SECONDS:
            raise InvalidInput(f"{field}.time", f"must be 0 to {MAX_SECONDS:g} seconds, got {item.time}")
        frame = round(item.time * FPS)
    if frame is None or not 0 <= frame < MAX_FRAMES:
        raise InvalidInput(f"{field}.frame", f"must be 0 to {MAX_FRAMES - 1}, got {frame}")
    if item.pose is not None:
        return key_pose(frame, item.pose, field)
    if clip is None:
        raise InvalidInput("clip", f"is needed for {field}.clip_frame: send the motion that it is of")
    poses, index = at_fps(clip, "clip"), item.clip_frame
    if index is None or not 0 <= index < len(poses):
        raise InvalidInput(f"{field}.clip_frame", f"must be 0 to {len(poses) - 1}, the frames of the clip, got {index}")
    return KeyPose(frame, poses[index], field)


def _span(field: str, span: Sequence[int]) -> tuple[int, int]:
    if len(span) != 2:
        raise InvalidInput(field, f"must be a first and a last frame, got {len(span)} numbers")
    return span[0], span[1]


def _path(points: Sequence[Sequence[float]]) -> np.ndarray | None:
    if not points:
        return None
    for i, point in enumerate(points):
        if len(point) != 3:
            raise InvalidInput(f"{CONSTRAINTS}.path.{i}", f"must be [seconds, x, z], got {len(point)} numbers")
        if not (np.isfinite(point).all() and 0 <= point[0] <= MAX_SECONDS and max(map(abs, point[1:])) <= 1e4):
            raise InvalidInput(f"{CONSTRAINTS}.path.{i}", "must be seconds from 0 and metres within 10 km, all finite")
    if len(points) < 2:
        raise InvalidInput(f"{CONSTRAINTS}.path", "needs two points or more")
    return np.asarray(points, np.float64)
