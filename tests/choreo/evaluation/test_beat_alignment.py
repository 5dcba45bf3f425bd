"""Beat alignment."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter1d

from choreo.errors import InvalidInput
from choreo.evaluation.beat_alignment import beat_alignment_score, motion_beat_alignment

Metric = Callable[..., float | None]
BOTH = pytest.mark.parametrize("metric", [beat_alignment_score, motion_beat_alignment])


def pausing(fps: float, period: float = 0.5, seconds: float = 20.0, late: float = 0.0) -> np.ndarray:
    """All joints slow down to nearly nothing every `period` seconds, `late` seconds after the beat."""
    steps = np.arange(round(seconds * fps)) / fps
    speed = 0.05 + np.sin(np.pi * (steps - late) / period) ** 2
    path = np.concatenate([[0], np.cumsum(speed) / fps])
    return np.ones((len(path), 22, 3)) * path[:, None, None]


def beats(period: float = 0.5, seconds: float = 20.0) -> np.ndarray:
    # The first and the last pause are no minima, having nothing beside them.
    return np.arange(period, seconds - period / 2, period)


@BOTH
@pytest.mark.parametrize("fps", [20.0, 30.0, 60.0, 120.0])
def test_stopping_on_the_beat_is_one(metric: Metric, fps: float) -> None:
    assert metric(pausing(fps), beats(), fps) == pytest.approx(1, abs=1e-9)


@BOTH
@pytest.mark.parametrize("fps", [20.0, 60.0])
def test_three_frames_off_at_60_fps_is_one_standard_deviation(metric: Metric, fps: float) -> None:
    # Late by so much, the first pause is a pause too, and has its beat.
    first = [0.0] if metric is motion_beat_alignment else []
    value = metric(pausing(fps, late=3 / 60), [*first, *beats()], fps)
    assert value == pytest.approx(np.exp(-0.5), abs=1e-4)


@BOTH
def test_noise_scores_low(metric: Metric) -> None:
    """Smoothed white noise pauses anywhere; unsmoothed it would pause everywhere."""
    rng = np.random.default_rng(0)
    path = gaussian_filter1d(rng.standard_normal((3600, 22, 3)), 20, axis=0)
    value = metric(path, np.arange(0, 60, 0.5), 60)
    assert value is not None
    assert value <= 0.3


def test_the_one_averages_over_beats_and_the_other_over_pauses() -> None:
    motion = pausing(60)
    assert beat_alignment_score(motion, beats()[::2], 60) == pytest.approx(1)
    assert motion_beat_alignment(motion, beats()[::2], 60) == pytest.approx(0.5, abs=0.02)
    twice = np.sort(np.concatenate([beats(), beats() + 0.25]))
    assert motion_beat_alignment(motion, twice, 60) == pytest.approx(1)
    assert beat_alignment_score(motion, twice, 60) == pytest.approx(0.5, abs=0.02)


@BOTH
def test_no_beat_on_the_motion_is_no_score(metric: Metric) -> None:
    for none in ([], [np.nan], [-1.0, 25.0]):
        assert metric(pausing(30), none) is None


@BOTH
def test_motion_that_never_pauses_scores_nothing(metric: Metric) -> None:
    still = np.ones((60, 22, 3))
    assert metric(still, [0.5, 1.0]) == 0
    assert metric(still[:1], [0.0]) == 0


@BOTH
@given(
    st.integers(1, 40), st.lists(st.floats(-1, 3) | st.just(float("nan")), max_size=8), st.sampled_from([20, 30, 60])
)
def test_any_motion_scores_between_nothing_and_one(metric: Metric, frames: int, times: list[float], fps: int) -> None:
    value = metric(np.random.default_rng(frames).standard_normal((frames, 22, 3)), times, fps)
    assert value is None or 0 <= value <= 1


@BOTH
def test_what_is_no_motion_is_refused(metric: Metric) -> None:
    for bad in (np.ones((5, 3)), np.full((5, 22, 3), np.nan)):
        with pytest.raises(InvalidInput):
            metric(bad, [0.1])
