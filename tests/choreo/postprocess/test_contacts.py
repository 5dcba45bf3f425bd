"""Contact detection."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from choreo.postprocess.contacts import detect_contacts, horizontal_speed, hysteresis, spans

from .synthetic_walk import noisy, stance, standing, walk


def column(*values: int) -> np.ndarray:
    return np.array(values, bool)[:, None]


def test_a_state_stays_between_the_thresholds() -> None:
    enter, leave = column(0, 1, 0, 0, 0, 0, 1), column(1, 0, 0, 0, 1, 0, 0)
    assert hysteresis(enter, leave).ravel().tolist() == [False, True, True, True, False, False, True]


def test_spans_are_first_and_last_frames() -> None:
    assert spans(np.array([1, 1, 0, 1, 0, 0, 1], bool)).tolist() == [[0, 1], [3, 3], [6, 6]]
    assert spans(np.zeros(4, bool)).shape == (0, 2)


def test_a_standing_dancer_is_in_contact_throughout() -> None:
    assert detect_contacts(standing(30)).all()


def test_feet_in_the_air_or_sliding_fast_are_not_in_contact() -> None:
    high = standing(30)
    high[..., 1] += 0.3
    assert not detect_contacts(high).any()
    fast = standing(30)
    fast[..., 2] += np.arange(30)[:, None] / 30 * 1.5
    assert not detect_contacts(fast).any()


@pytest.mark.parametrize("fps", [30.0, 60.0, 120.0])
def test_a_walk_is_in_contact_in_its_stance_at_any_frame_rate(fps: float) -> None:
    frames = round(6.5 * fps)
    contacts = detect_contacts(walk(frames, fps=fps), fps)
    for side in range(2):
        expected = stance(frames, side, fps)
        assert (contacts[:, side] == expected).mean() > 0.85
        assert (contacts[:, 2 + side] == expected).mean() > 0.85
        assert len(spans(contacts[:, 2 + side])) == len(spans(expected))


@given(seed=st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_rounding_does_not_make_contacts_flicker(seed: int) -> None:
    clean = walk(120)
    shaken = clean + np.random.default_rng(seed).uniform(-1e-3, 1e-3, clean.shape)
    before, after = detect_contacts(clean), detect_contacts(shaken)
    for joint in range(4):
        assert np.abs(spans(before[:, joint]) - spans(after[:, joint])).max() <= 1


def test_short_gaps_close_and_short_contacts_vanish() -> None:
    lifted = standing(60)
    lifted[20:22, [7, 10], 1] += 0.2  # two frames off the floor
    assert detect_contacts(lifted).all()
    touching = standing(60)
    touching[:, [7, 10], 1] += 0.2
    touching[20:23, [7, 10], 1] -= 0.2  # three frames on the floor
    assert not detect_contacts(touching)[:, [0, 2]].any()


def test_speed_is_in_metres_per_second() -> None:
    line = np.zeros((20, 1, 3))
    line[:, 0, 0] = np.arange(20) * 0.01
    line[:, 0, 1] = np.arange(20) * 0.5  # height does not count
    assert np.allclose(horizontal_speed(line, 30), 0.3)
    assert np.allclose(horizontal_speed(line[:3], 60), 0.6)
    assert horizontal_speed(line[:1]).tolist() == [[0.0]]


def test_noise_of_a_centimetre_leaves_most_of_the_stance() -> None:
    contacts = detect_contacts(noisy(walk(), 0.005))
    assert (contacts[:, 2] == stance(196, 0)).mean() > 0.8
