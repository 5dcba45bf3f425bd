"""Motion as a table of joint positions (CSV, RFC 4180), for spreadsheets, pandas and R.

Columns: `frame` from 0, `time` in seconds, and `pelvis_x`, `pelvis_y`, `pelvis_z` and so on in metres, y up. With
several dancers the joints of each are called after the dancer: `lead:pelvis_x`. There is no room for metadata.
"""

import numpy as np

from choreo.errors import NonFiniteOutput
from choreo.motion.clip import Motion
from choreo.motion.performance import Performance
from choreo.motion.skeleton import JOINT_NAMES

DECIMALS = 5
"""Decimals of a coordinate: a hundredth of a millimetre."""


def csv_text(dance: Motion | Performance) -> str:
    """The table, one line a frame after one with the names of the columns.

    Raises:
        NonFiniteOutput: the positions hold NaN or infinity.
    """
    performance = Performance.of(dance)
    positions = np.asarray(performance.positions, np.float64)
    if not np.isfinite(positions).all():
        raise NonFiniteOutput("the motion holds NaN or infinite coordinates")
    several = len(performance.dancers) > 1
    prefixes = [f"{name}:" if several else "" for name in performance.names]
    columns = [f"{prefix}{joint}_{axis}" for prefix in prefixes for joint in JOINT_NAMES for axis in "xyz"]
    frames = performance.num_frames
    rows = np.round(np.moveaxis(positions, 0, 1).reshape(frames, -1), DECIMALS) + 0.0  # + 0.0: no -0.0
    row = ",".join(["%d", "%.6f", *[f"%.{DECIMALS}f"] * rows.shape[1]])
    lines = [row % (k, k / performance.fps, *values) for k, values in enumerate(rows.tolist())]
    return "\r\n".join([",".join(["frame", "time", *columns]), *lines, ""])


def csv_bytes(dance: Motion | Performance) -> bytes:
    """`csv_text` as the bytes of a file."""
    return csv_text(dance).encode("ascii")
