import numpy as np
import pytest

from choreo.postprocess.inertialization import EASE_FRAMES, carried_over


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
