"""Which frames become key poses."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from choreo.generators.composite.key_poses import CLOSEST, key_frames


@given(
    num_frames=st.integers(1, 3000), beats=st.lists(st.floats(-5, 120), max_size=80),
    interval=st.sampled_from([8, 16, 32]),
)  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_key_frames_are_in_the_motion_apart_and_nowhere_missing(
    num_frames: int, beats: list[float], interval: int
) -> None:
    frames = key_frames(num_frames, np.array(beats), 30, interval)
    assert len(frames) >= 1
    assert frames.min() >= 0
    assert frames.max() < num_frames
    assert (np.diff(frames) >= min(CLOSEST, interval)).all()


def test_beats_have_key_poses_and_pauses_are_filled() -> None:
    beats = np.concatenate([np.arange(4, 10, 0.5), np.arange(14, 18, 0.5)])
    frames = key_frames(600, beats, 30, 16)
    assert set(np.rint(beats * 30)) <= set(frames)
    assert np.diff(frames).max() <= 16 + CLOSEST
    assert frames[0] < 16
    assert frames[-1] > 600 - 16 - CLOSEST


def test_without_beats_every_interval_has_one() -> None:
    np.testing.assert_array_equal(key_frames(50, np.zeros(0), 30, 16), [0, 16, 32, 48])
    np.testing.assert_array_equal(key_frames(50, np.array([1.0]), 30, 16), [0, 16, 32, 48])
    np.testing.assert_array_equal(key_frames(50, np.array([70.0, 71.0]), 30, 16), [0, 16, 32, 48])
