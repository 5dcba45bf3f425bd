import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from choreo.errors import InvalidInput
from choreo.motion.resample import resample


def test_a_straight_line_stays_one():
    line = np.linspace([0.0, 1.0, 2.0], [6.0, 4.0, 2.0], 121)  # 1 s at 120 frames per second
    slow = resample(line, 120, 30)
    assert slow.shape == (31, 3)
    assert np.allclose(slow, line[::4])
    assert np.allclose(resample(slow, 30, 120), line)


def test_equal_rates_copy():
    positions = np.random.default_rng(0).normal(size=(5, 22, 3))
    same = resample(positions, 29.97, 29.97)
    assert (same == positions).all()
    assert not np.shares_memory(same, positions)


def test_one_frame_stays_one():
    assert resample(np.ones((1, 22, 3)), 10, 30).shape == (1, 22, 3)


@given(st.integers(1, 200), st.floats(1, 240), st.floats(1, 240))
def test_never_reaches_beyond_the_input(frames, fps, target):
    ramp = np.arange(frames, dtype=float)[:, None]
    out = resample(ramp, fps, target)
    assert out.min() >= 0
    assert out.max() <= frames - 1
    assert abs((len(out) - 1) / target - (frames - 1) / fps) <= 1 / target + 1e-4
    assert np.allclose(out[:, 0], np.minimum(np.arange(len(out)) * fps / target, frames - 1))


@pytest.mark.parametrize(
    ("frames", "fps", "target", "field"),
    [
        (0, 30, 30, "motion"),
        (5, 0, 30, "fps"),
        (5, -1, 30, "fps"),
        (5, float("nan"), 30, "fps"),
        (5, 30, float("inf"), "target"),
        (10_000, 1, 1000, "motion"),
        (10_000, 1e-300, 1e300, "motion"),
    ],
)
def test_refusals(frames, fps, target, field):
    with pytest.raises(InvalidInput) as error:
        resample(np.zeros((frames, 1)), fps, target)
    assert error.value.field == field
