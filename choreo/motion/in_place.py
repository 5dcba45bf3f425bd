"""A motion without its travel, as games and crowd tools want it that move the character themselves."""

from dataclasses import replace

import numpy as np

from choreo.motion.clip import Motion
from choreo.motion.travel import ground_path


def in_place(motion: Motion) -> Motion:
    """The motion over the spot where it starts: the smoothed horizontal path of the pelvis is taken out.

    Sway within a step stays, and so do heights and rotations. Feet that stood still slide against the path.
    """
    path = ground_path(motion.positions, motion.fps)
    moved = np.array(motion.positions, np.float64)
    moved[:, :, [0, 2]] -= (path - path[0])[:, None]
    return replace(motion, positions=moved.astype(np.float32))
