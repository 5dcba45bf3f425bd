"""Taking the travel out of a motion."""

import numpy as np
import pytest

from choreo.motion.clip import Motion
from choreo.motion.in_place import in_place
from choreo.motion.kinematics import forward_kinematics
from choreo.motion.skeleton import NUM_JOINTS
from choreo.motion.travel import travel

REST = forward_kinematics(np.array([0.3, 0.95, -2.0]), np.broadcast_to(np.eye(3), (NUM_JOINTS, 3, 3)))


def walking(frames: int = 120, fps: float = 30) -> Motion:
    time = np.arange(frames) / fps
    path = np.stack([1.2 * time, 0.02 * np.sin(12 * time), 0.05 * np.sin(12 * time)], axis=1)
    rotations = np.tile(np.eye(3, dtype=np.float32), (frames, NUM_JOINTS, 1, 1))
    return Motion((REST + path[:, None]).astype(np.float32), fps, rotations, {"seed": 1})


def test_the_dancer_stays_where_it_starts() -> None:
    motion = walking()
    still = in_place(motion)
    assert travel(motion.positions) > 4
    assert travel(still.positions) < 0.5  # what remains at the ends, where the path is smoothed on one side
    assert np.abs(still.positions[20:-20, 0, 0] - motion.positions[0, 0, 0]).max() < 0.25
    np.testing.assert_allclose(still.positions[0], motion.positions[0], atol=1e-5)


def test_all_else_is_kept() -> None:
    motion = walking()
    still = in_place(motion)
    assert (still.fps, still.meta, still.num_frames) == (motion.fps, motion.meta, motion.num_frames)
    np.testing.assert_array_equal(still.positions[..., 1], motion.positions[..., 1])
    assert still.rotations is motion.rotations
    relative = motion.positions - motion.positions[:, :1]
    np.testing.assert_allclose(still.positions - still.positions[:, :1], relative, atol=1e-5)
    assert np.ptp(still.positions[30:-30, 0, 2]) > 0.05  # the sway


@pytest.mark.parametrize("frames", [1, 2])
def test_short_motions(frames: int) -> None:
    assert in_place(walking(frames)).num_frames == frames
