"""A character in a BVH file, and the same file with a dance as its motion.

The rest pose is the file's own, with all angles zero; where that does not stand, it is the first frame. The HIERARCHY
section stays byte for byte.
"""

import re
import warnings
from dataclasses import replace
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from choreo.errors import InvalidInput
from choreo.motion.formats.bvh_parser import MAX_CHARS, Bvh, joint_rotations, parse_bvh
from choreo.rigs.rig import Rig, RigMotion

Array = NDArray[np.float64]

Order = Literal["XYZ", "XZY", "YXZ", "YZX", "ZXY", "ZYX"]
_ORDERS: Final[dict[str, Order]] = {order: order for order in get_args(Order)}
_MOTION: Final = re.compile(r"^[ \t]*MOTION[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)


class BvhRig:
    """A character as it was read.

    Args:
        data: the file.
        field: name of the file in errors.
        first_frame: whether the first frame is the rest pose.

    Attributes:
        rig: its joints, end sites included.

    Raises:
        InvalidInput: not such a file, damaged, or beyond a limit.
    """

    notes: tuple[str, ...] = ()

    def __init__(self, data: bytes, field: str = "rig", *, first_frame: bool = False) -> None:
        if len(data) > MAX_CHARS:
            raise InvalidInput(field, f"is larger than {MAX_CHARS // 2**20} MiB")
        self._field = field
        # Bytes that are no UTF-8 are kept, so that names come back as they were.
        text = data.decode("utf-8", "surrogateescape")
        self._bvh: Bvh = parse_bvh(text, field)
        if not (found := _MOTION.search(text)):
            raise InvalidInput(field, "has no line 'MOTION'")
        self._header = text[: found.start()]
        frame = self._bvh.frames[0] if first_frame else np.zeros(self._bvh.frames.shape[1])
        self._columns = np.cumsum([0, *map(len, self._bvh.channels)])
        self._rest_row = self._row(frame, first_frame)
        self.rig = self._rest()

    def animated(self, dances: dict[str, RigMotion], fps: float, extras: dict[str, Any]) -> bytes:
        """The file with a dance as its motion; `extras` have no room in it.

        Raises:
            InvalidInput: several dances, or a joint that cannot turn or travel freely.
        """
        if len(dances) > 1:
            raise InvalidInput(
                self._field, f"is one character, and a BVH file has one motion: got {len(dances)} dances"
            )
        dance = next(iter(dances.values()))
        values = np.tile(self._rest_row, (len(dance.path), 1))
        for place, joint in enumerate(dance.joints):
            names = self._bvh.channels[joint]
            axes = [(column, name[0]) for column, name in enumerate(names) if name.endswith("rotation")]
            if len(axes) != 3 or len({axis for _, axis in axes}) < 3:
                raise InvalidInput(
                    self._field, f"has the joint {self._bvh.names[joint][:32]!r} without three axes of rotation"
                )
            angles = euler(dance.local[:, place], "".join(axis for _, axis in axes))
            values[:, self._columns[joint] + np.array([column for column, _ in axes])] = angles
        self._travel(values, dance)
        row = " ".join(["%.6f"] * values.shape[1])
        lines = ["MOTION", f"Frames: {len(values)}", f"Frame Time: {1 / fps:.10f}"]
        lines += [row % tuple(frame) for frame in (np.round(values, 6) + 0.0).tolist()]
        newline = "\r\n" if "\r\n" in self._header else "\n"
        return (self._header + newline.join([*lines, ""])).encode("utf-8", "surrogateescape")

    def _row(self, frame: Array, first_frame: bool) -> Array:
        """Channel values (C,) of the rest pose: where positions are not those of a frame, they are the offsets."""
        row = frame.copy()
        if not first_frame:
            for joint, names in enumerate(self._bvh.channels):
                for column, name in enumerate(names, int(self._columns[joint])):
                    if name.endswith("position"):
                        row[column] = self._bvh.offsets[joint]["XYZ".index(name[0])]
        return row

    def _rest(self) -> Rig:
        count = len(self._bvh.names)
        positions, rotations = np.empty((count, 3)), np.empty((count, 3, 3))
        posed = replace(self._bvh, frames=self._rest_row[None])
        for joint, parent in enumerate(self._bvh.parents):
            local, turn = self._local_rest(joint), joint_rotations(posed, joint)[0]
            positions[joint] = local if parent < 0 else positions[parent] + rotations[parent] @ local
            rotations[joint] = turn if parent < 0 else rotations[parent] @ turn
        return Rig(self._bvh.names, self._bvh.parents, positions, rotations)

    def _local_rest(self, joint: int) -> Array:
        local = self._bvh.offsets[joint].copy()
        for column, name in enumerate(self._bvh.channels[joint], int(self._columns[joint])):
            if name.endswith("position"):
                local["XYZ".index(name[0])] = self._rest_row[column]
        return local

    def _travel(self, values: Array, dance: RigMotion) -> None:
        """Write the path to the position channels of the joint that travels, or of the nearest above it."""
        for joint in self.rig.path(dance.root):
            columns = {name[0]: i for i, name in enumerate(self._bvh.channels[joint]) if name.endswith("position")}
            if len(columns) == 3:
                break
        else:
            raise InvalidInput(self._field, f"has no position channels at {self.rig.names[dance.root][:32]!r} or above")
        parent = self.rig.parents[joint]
        back = np.eye(3) if parent < 0 else self.rig.rotations[parent]  # its transpose, applied from the right
        moved = (dance.path - self.rig.positions[dance.root]) @ back + self._local_rest(joint)
        for axis, column in columns.items():
            values[:, self._columns[joint] + column] = moved[:, "XYZ".index(axis)]


def euler(rotations: Array, order: str) -> Array:
    """Angles (T, 3) in degrees, R = R_order[0] R_order[1] R_order[2], of rotations (T, 3, 3) about three axes.

    They are as continuous over time as the rotations: of the two triples of a rotation, (a, b, c) and
    (a + 180, 180 - b, c + 180), the one closer to the frame before is taken, with whole turns added.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of gimbal lock, where any of the right triples will do
        out = Rotation.from_matrix(rotations).as_euler(_ORDERS[order.upper()], degrees=True)
    other = out * (1, -1, 1) + 180
    for t in range(1, len(out)):
        same = out[t] + 360 * np.round((out[t - 1] - out[t]) / 360)
        flipped = other[t] + 360 * np.round((out[t - 1] - other[t]) / 360)
        nearer = np.abs(flipped - out[t - 1]).sum() < np.abs(same - out[t - 1]).sum()
        out[t] = flipped if nearer else same
    return np.asarray(out, np.float64)
