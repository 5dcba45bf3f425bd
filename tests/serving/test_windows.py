import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from serving.windows import ramps, timeline_length, window_starts


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
    own, total = ramps(starts, 196, 64)
    blended = np.zeros_like(timeline)
    for start, weights in zip(starts, own, strict=True):
        blended[start : start + 196] += weights * timeline[start : start + 196]
    np.testing.assert_allclose(blended / total, timeline, atol=1e-9)


def test_the_blend_moves_linearly_from_one_window_to_the_next() -> None:
    own, total = ramps(window_starts(300, 196, 64), 196, 64)
    share = own[1] / total[132:328]
    np.testing.assert_allclose(np.diff(share[:64]), 1 / 65, atol=1e-9)
    assert (share[64:] == 1).all()
    assert (own[0][:132] == 1).all()
