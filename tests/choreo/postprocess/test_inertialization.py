import numpy as np
import pytest

from choreo.postprocess.inertialization import EASE_FRAMES, carried_over, eased_around


def jumpy(count: int, length: int = 60) -> np.ndarray:
    """A straight line that jumps by 5 where generated frames begin."""
    line = np.outer(np.arange(length), [0.1, -0.2, 0.0])
    line[count:] += 5
    return line


@pytest.mark.parametrize("count", [1, 2, 20, 58, 59])
def test_a_jump_becomes_a_glide(count: int) -> None:
    out = carried_over(jumpy(count), count)
    np.testing.assert_array_equal(out[:count], jumpy(count)[:count])
    np.testing.assert_array_equal(out[count + EASE_FRAMES :], jumpy(count)[count + EASE_FRAMES :])
    assert np.abs(np.diff(out, axis=0)).max() < 0.85
    assert np.abs(out[count] - out[count - 1]).max() <= 0.2 + 1e-9


def test_motion_without_a_jump_and_motion_without_a_start_stay_as_they_are() -> None:
    line = np.outer(np.arange(30), [1.0, 2.0])
    np.testing.assert_allclose(carried_over(line, 10), line)
    np.testing.assert_array_equal(carried_over(jumpy(0), 0), jumpy(0))
    np.testing.assert_array_equal(carried_over(line, 30), line)


def test_velocity_is_continuous_too() -> None:
    t = np.arange(60)[:, None]
    bent = np.where(t < 20, 0.3 * t, 6 - 0.3 * (t - 20))
    out = carried_over(bent, 20)[:, 0]
    assert np.abs(np.diff(out, 2)).max() < 0.2  # the corner itself is 0.6


def test_given_frames_are_eased_into_on_both_sides() -> None:
    given = np.zeros(120, bool)
    given[[0, 1, 2, 60, 100, 101, 102]] = True
    features = np.where(given[:, None], 5.0, np.sin(np.arange(120) / 9)[:, None])
    out = eased_around(features, given)
    np.testing.assert_array_equal(out[given], features[given])
    steps = np.abs(np.diff(out[:, 0]))
    assert steps.max() < 5 * 1.5 / EASE_FRAMES * 1.3  # of a jump of 5: no steeper than a smooth step is
    np.testing.assert_array_equal(out[20:40], features[20:40])


def test_a_start_is_eased_as_it_always_was() -> None:
    given = np.arange(120) < 10
    values = np.random.default_rng(0).normal(0, 1, (120, 3))
    np.testing.assert_array_equal(eased_around(values, given), carried_over(values, 10))


def test_gaps_of_one_frame_and_motion_that_is_all_given_stay() -> None:
    values = np.random.default_rng(0).normal(0, 1, (9, 2))
    given = np.array([1, 1, 1, 1, 0, 1, 1, 1, 1], bool)
    np.testing.assert_array_equal(eased_around(values, given), values)
    np.testing.assert_array_equal(eased_around(values, np.ones(9, bool)), values)
