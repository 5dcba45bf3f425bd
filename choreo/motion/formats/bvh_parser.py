"""Biovision Hierarchy files of any skeletons: a parser for untrusted text, and forward kinematics.

The format is described by M. Meredith and S. Maddock, "Motion Capture File Formats Explained", 2001. A joint's
rotation is the product of its rotation channels in the order in which they are listed; position channels replace the
offset, as Blender and MotionBuilder read them. A file may hold several hierarchies, each with its own ROOT, one after
the other; a frame then lists the channels of all of them in that order.

What Blender's importer reads is read: names of end sites, names that occur twice (the second gets a number), channels
of unknown names (their values are passed over), a wrong number of channels, and braces that are not closed.
"""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from choreo.errors import InvalidInput
from choreo.motion import rotations as rot
from choreo.motion.clip import MAX_FRAMES
from choreo.motion.formats.bvh_frames import number, read_frames
from choreo.motion.performance import MAX_DANCERS

Array = NDArray[np.float64]

MAX_CHARS = 96 * 2**20
"""Largest file, in characters."""
MAX_JOINTS = 512
MAX_NESTING = 128
MAX_HEADER_LINES = 16 * MAX_JOINTS
MAX_NAME = 128
MAX_FILE_FRAMES = 4 * MAX_FRAMES
"""An hour at 120 frames per second."""
MAX_JOINT_FRAMES = 2**24
"""Limit of joints times frames, which bounds the memory of forward kinematics."""
MAX_CHANNELS = 16
"""Of one joint."""
_MAX_LINE = 2**20
CHUNK_JOINTS = 2**18
"""Joint positions computed at a time."""

CHANNELS = ("Xposition", "Yposition", "Zposition", "Xrotation", "Yrotation", "Zrotation")
_CANONICAL_CHANNEL = {name.lower(): name for name in CHANNELS}
_AXES = np.eye(3)


@dataclass(frozen=True)
class Bvh:
    """A parsed file, in the file's own units and joint order; J includes the end sites.

    Attributes:
        names: J joint names; an end site is called `<its parent>_end`.
        parents: J parent indices, -1 for a root; parents come before their children.
        offsets: (J, 3) offset from the parent in the rest pose.
        channels: J tuples of channel names in file order, "" for unknown ones; empty for end sites.
        frames: (F, C) channel values, degrees and file units.
        frame_time: seconds per frame.
        notes: what in the file had to be guessed or passed over.
    """

    names: tuple[str, ...]
    parents: tuple[int, ...]
    offsets: Array
    channels: tuple[tuple[str, ...], ...]
    frames: Array
    frame_time: float
    notes: tuple[str, ...] = ()


def parse_bvh(text: str, field: str = "motion") -> Bvh:
    """Parse the text of a file, with any white space and line endings and channel names in any case.

    Raises:
        InvalidInput: the text is not a BVH file, or exceeds one of this module's limits.
    """
    if len(text) > MAX_CHARS:
        raise InvalidInput(field, f"is larger than {MAX_CHARS // 2**20} MiB")
    stream = io.StringIO(text.removeprefix("\ufeff"), newline=None)
    hierarchy = _Hierarchy(_header_tokens(stream, field), field)
    width = sum(map(len, hierarchy.channels))
    if not width:
        raise InvalidInput(field, "has no channels: nothing moves")
    most = min(MAX_FILE_FRAMES, MAX_JOINT_FRAMES // len(hierarchy.names))
    frames, frame_time, notes = read_frames(stream, width, most, field)
    return Bvh(
        tuple(hierarchy.names),
        tuple(hierarchy.parents),
        np.array(hierarchy.offsets),
        tuple(hierarchy.channels),
        frames,
        frame_time,
        notes,
    )


def skeletons(bvh: Bvh) -> list[Bvh]:
    """One `Bvh` per root, in file order. Joints are stored depth first, so each skeleton is a range of them."""
    starts = [joint for joint, parent in enumerate(bvh.parents) if parent < 0]
    out = []
    for first, end in pairwise([*starts, len(bvh.names)]):
        joints = slice(first, end)
        columns = slice(_first_channel(bvh, first), _first_channel(bvh, end))
        parents = tuple(max(parent - first, -1) for parent in bvh.parents[joints])
        of_joints = (bvh.names[joints], parents, bvh.offsets[joints], bvh.channels[joints])
        out.append(Bvh(*of_joints, bvh.frames[:, columns], bvh.frame_time, bvh.notes))
    return out


def position_chunks(bvh: Bvh) -> Iterator[Array]:
    """Joint positions in file units, in consecutive pieces (n, J, 3) of at most a few megabytes."""
    step = max(1, CHUNK_JOINTS // len(bvh.names))
    for start in range(0, len(bvh.frames), step):
        yield _forward_kinematics(bvh, bvh.frames[start : start + step])


def joint_rotations(bvh: Bvh, joint: int, frames: Array | None = None) -> Array:
    """Local rotations (F, 3, 3) of one joint, parent to joint."""
    frames = bvh.frames if frames is None else frames
    first = _first_channel(bvh, joint)
    rotation = np.broadcast_to(np.eye(3), (len(frames), 3, 3))
    for column, channel in enumerate(bvh.channels[joint], first):
        if channel.endswith("rotation"):
            rotation = rotation @ rot.axis_angle(_AXES["XYZ".index(channel[0])], np.radians(frames[:, column]))
    return rotation


def _forward_kinematics(bvh: Bvh, frames: Array) -> Array:
    positions = np.empty((len(frames), len(bvh.names), 3))
    world: list[Array] = []
    for joint, parent in enumerate(bvh.parents):
        local = np.tile(bvh.offsets[joint], (len(frames), 1))
        for column, channel in enumerate(bvh.channels[joint], _first_channel(bvh, joint)):
            if channel.endswith("position"):
                local[:, "XYZ".index(channel[0])] = frames[:, column]
        rotation = joint_rotations(bvh, joint, frames)
        if parent < 0:
            positions[:, joint] = local
            world.append(rotation)
        else:
            positions[:, joint] = positions[:, parent] + (world[parent] @ local[..., None])[..., 0]
            world.append(world[parent] @ rotation)
    return positions


def _first_channel(bvh: Bvh, joint: int) -> int:
    return sum(map(len, bvh.channels[:joint]))


class _Hierarchy:
    """Parser of the HIERARCHY section: a loop with an explicit stack, so that nesting cannot exhaust Python's."""

    def __init__(self, tokens: list[str], field: str) -> None:
        self.names: list[str] = []
        self.parents: list[int] = []
        self.offsets: list[tuple[float, ...]] = []
        self.channels: list[tuple[str, ...]] = []
        self._tokens, self._field, self._at = tokens, field, 0
        self._open: list[int] = []
        self._seen: dict[str, int] = {}
        self._read()

    def _read(self) -> None:
        if self._take("HIERARCHY").upper() != "HIERARCHY":
            raise InvalidInput(self._field, "is not a BVH file: it does not begin with HIERARCHY")
        handlers: dict[str, Callable[[], None]] = {
            "ROOT": self._joint,
            "JOINT": self._joint,
            "END": self._end_site,
            "OFFSET": self._offset,
            "CHANNELS": self._read_channels,
            "}": self._close,
        }
        self._keywords = handlers.keys() | {"{"}
        while self._at < len(self._tokens):
            token = self._take("a keyword")
            handler = handlers.get(token.upper())
            if handler is None:
                raise self._error(f"has the unknown word {token[:32]!r} in its hierarchy")
            handler()
        if not self.names:
            raise self._error("has no joints")
        for name, offset in zip(self.names, self.offsets, strict=True):
            if not offset:
                raise self._error(f"gives no OFFSET for {name!r}")

    def _error(self, message: str) -> InvalidInput:
        return InvalidInput(self._field, message)

    def _take(self, what: str) -> str:
        if self._at >= len(self._tokens):
            raise self._error(f"ends where {what} should be")
        self._at += 1
        return self._tokens[self._at - 1]

    def _words(self) -> str:
        """Words up to the next opening brace."""
        words: list[str] = []
        while (word := self._take("'{'")) != "{":
            words.append(word)
            if sum(map(len, words)) > MAX_NAME:
                raise self._error(f"has a joint name of more than {MAX_NAME} characters")
        return " ".join(words)

    def _joint(self) -> None:
        name = self._words()
        if not name:
            raise self._error("has a joint called ''")
        self._begin(name)

    def _end_site(self) -> None:
        if self._take("Site").upper() != "SITE":
            raise self._error("has an End that is not followed by Site")
        self._words()
        self._begin(f"{self.names[self._current()]}_end")

    def _begin(self, name: str) -> None:
        if not self._open and self.parents.count(-1) >= MAX_DANCERS:
            raise self._error(f"has more than {MAX_DANCERS} roots")
        if len(self.names) >= MAX_JOINTS:
            raise self._error(f"has more than {MAX_JOINTS} joints")
        if len(self._open) >= MAX_NESTING:
            raise self._error(f"nests joints deeper than {MAX_NESTING}")
        self.parents.append(self._open[-1] if self._open else -1)
        self._open.append(len(self.names))
        self.names.append(self._unique(name))
        self.offsets.append(())
        self.channels.append(())

    def _unique(self, name: str) -> str:
        """The name, with a number where another joint has it."""
        self._seen[name] = count = self._seen.get(name, 0) + 1
        return name if count == 1 else f"{name}.{count - 1:03d}"

    def _current(self) -> int:
        if not self._open:
            raise self._error("has a part outside every joint")
        return self._open[-1]

    def _offset(self) -> None:
        self.offsets[self._current()] = tuple(number(self._take("a number"), "OFFSET", self._field) for _ in range(3))

    def _read_channels(self) -> None:
        joint = self._current()
        number(self._take("a number"), "CHANNELS", self._field)  # the names say how many there are
        words: list[str] = []
        while self._at < len(self._tokens) and self._tokens[self._at].upper() not in self._keywords:
            words.append(self._take("a channel name"))
        if len(words) > MAX_CHANNELS or self.channels[joint]:
            raise self._error(f"declares more than {MAX_CHANNELS} channels for {self.names[joint]!r}, or twice")
        self.channels[joint] = tuple(_CANONICAL_CHANNEL.get(word.lower(), "") for word in words)

    def _close(self) -> None:
        self._current()
        self._open.pop()


def _header_tokens(stream: io.StringIO, field: str) -> list[str]:
    tokens: list[str] = []
    for _ in range(MAX_HEADER_LINES):
        line = stream.readline(_MAX_LINE)
        if not line:
            raise InvalidInput(field, "is not a BVH file: it has no MOTION section")
        if line.strip().upper() == "MOTION":
            return tokens
        tokens += line.replace("{", " { ").replace("}", " } ").split()
        if len(tokens) > 32 * MAX_JOINTS:
            break
    raise InvalidInput(field, "is not a BVH file, or its hierarchy is too long")
