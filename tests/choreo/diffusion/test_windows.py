import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from choreo.diffusion.windows import shares, timeline_length, window_starts


@given(st.integers(1, 4000))
def test_windows_cover_every_frame_and_overlap_evenly(num_frames: int) -> None:
    starts = window_starts(num_frames, 196, 64)
    assert starts[0] == 0
    assert timeline_length(starts, 196) >= num_frames
    assert all(b - a == 132 for a, b in itertools.pairwise(starts))
    # The last window is needed: without it the end would not be covered.
    assert len(starts) == 1 or starts[-2] + 196 < num_frames


@given(st.integers(1, 900), st.integers(0, 2**32 - 1))
def test_blending_windows_of_one_timeline_gives_the_timeline_back(num_frames: int, seed: int) -> None:
    starts = window_starts(num_frames, 196, 64)
    timeline = np.random.default_rng(seed).normal(size=timeline_length(starts, 196))
    blended = np.zeros_like(timeline)
    for start, share in zip(starts, shares(starts, 196, 64), strict=True):
        blended[start : start + 196] += share[:, 0] * timeline[start : start + 196]
    np.testing.assert_allclose(blended, timeline, atol=1e-9)


def test_the_blend_moves_linearly_from_one_window_to_the_next() -> None:
    own = shares(window_starts(300, 196, 64), 196, 64)
    np.testing.assert_allclose(np.diff(own[1][:64, 0]), 1 / 65, atol=1e-9)
    assert (own[1][64:] == 1).all()
    assert (own[0][:132] == 1).all()
