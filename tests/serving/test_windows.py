import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from serving.windows import blend, cut, timeline_length, window_starts


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
    timeline = np.random.default_rng(seed).normal(size=(timeline_length(starts, 196), 2)).astype(np.float32)
    np.testing.assert_allclose(blend(cut(timeline, starts, 196), starts, 64), timeline, atol=1e-5)


def test_the_blend_moves_linearly_from_one_window_to_the_next() -> None:
    starts = window_starts(300, 196, 64)
    windows = np.stack([np.full((196, 1), float(i), np.float32) for i in range(len(starts))])
    out = blend(windows, starts, 64)[:, 0]
    assert (out[:132] == 0).all()
    ramp = out[132:196]
    np.testing.assert_allclose(np.diff(ramp), 1 / 65, atol=1e-5)
    assert (out[196:264] == 1).all()
