"""Windows of couples: axes, roles, variations, and what is known of the follower."""

import numpy as np
import pytest
from small_duet import couples

from choreo.data.windows.couples import CoupleOptions, CoupleWindows
from choreo.errors import InvalidInput
from choreo.motion.kinematics import heading
from choreo.motion.pose_states import Ground, positions_of

OPTIONS = CoupleOptions(frames=16, look_ahead=3, tempos=(1.0, 1.15), swap=0.5)
PLAIN = CoupleOptions(frames=16, look_ahead=3, tempos=(1.0,), mirror=0, heading=0, from_nothing=0, from_a_frame=0)


def test_a_window_is_a_function_of_seed_and_index() -> None:
    first, again = CoupleWindows(couples(), 10, OPTIONS), CoupleWindows(couples(), 10, OPTIONS)
    for name, values in first[4].items():
        np.testing.assert_array_equal(values, again[4][name])
    assert not np.array_equal(first[4]["leader"], first[5]["leader"])


def test_shapes_and_axes() -> None:
    window = CoupleWindows(couples(), 10, PLAIN)[0]
    assert window["leader"].shape == (20, 22, 3)
    assert window["follower"].shape == (17, 135)
    np.testing.assert_allclose(window["leader"][0, 0, [0, 2]], 0, atol=1e-6)
    np.testing.assert_allclose(heading(window["leader"][:1]), 0, atol=1e-5)


def test_both_dancers_are_those_of_the_same_instants() -> None:
    couple = couples()[0]
    window = CoupleWindows([couple], 1, PLAIN)[0]
    lead, follow = couple.dancers
    found = [
        start
        for start in range(couple.num_frames - PLAIN.span + 1)
        if np.allclose(Ground.below(lead[start]).seen(lead[start : start + 20]), window["leader"], atol=1e-4)
    ]
    assert len(found) == 1
    ground = Ground.below(lead[found[0]])
    expected = ground.seen(follow[found[0] : found[0] + 17])
    np.testing.assert_allclose(positions_of(window["follower"]), expected, atol=1e-4)


def test_swapped_windows_have_the_other_dancer_given() -> None:
    windows = CoupleWindows(couples(), 60, OPTIONS)
    roles = np.array([windows[i]["role"][0] for i in range(60)])
    assert 0.25 < roles.mean() < 0.75


def test_before_the_follower_is_known_the_leader_stands() -> None:
    windows = CoupleWindows(couples(), 200, OPTIONS)
    firsts = set()
    for i in range(200):
        window = windows[i]
        first = int(window["first"][0])
        firsts.add(first)
        np.testing.assert_array_equal(window["leader"][:first], window["leader"][[first] * first])
    assert {0, 16} < firsts


def test_couples_that_are_too_short_are_refused() -> None:
    with pytest.raises(InvalidInput, match="no couple of 20 frames"):
        CoupleWindows([couples()[0].part(0, 19)], 1, PLAIN)
