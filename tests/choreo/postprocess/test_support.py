"""The foot that carries the body."""

import numpy as np
import pytest

from choreo.errors import InvalidInput
from choreo.postprocess.support import support

from .synthetic_walk import slid, stance, standing, walk


def share(found: np.ndarray, side: int) -> float:
    """Frames in which one foot is said to carry exactly while it stands."""
    return float((found[:, side] == stance(len(found), side)).mean())


@pytest.mark.parametrize("drift", [0.0, 0.05, 0.15])
def test_the_standing_foot_carries_even_if_it_slides(drift: float) -> None:
    found = support(slid(walk(), drift))
    assert min(share(found, 0), share(found, 1)) > 0.85
    assert found.any(axis=1).all()


def test_standing_is_on_both_feet() -> None:
    assert support(standing(60)).all()


def test_nothing_carries_in_a_jump() -> None:
    p = standing(60)
    t = np.arange(20) / 30
    p[20:40, :, 1] += (9.81 / 2 * t * (19 / 30 - t))[:, None]
    found = support(p)
    assert not found[24:36].any()
    assert found[:17].all()
    assert found[43:].all()


def test_states_last() -> None:
    p = standing(60)
    p[30, [7, 10], 1] += 0.3
    assert support(p).all()


def test_a_networks_contacts_count() -> None:
    contacts = np.tile([1.0, 0.0, 1.0, 0.0], (60, 1))
    assert (support(standing(60), contacts=contacts) == [True, False]).all()


@pytest.mark.parametrize("bad", [np.ones((59, 4)), np.ones((60, 2)), np.full((60, 4), 1.5), np.full((60, 4), np.nan)])
def test_contacts_that_are_no_probabilities_are_refused(bad: np.ndarray) -> None:
    with pytest.raises(InvalidInput, match="contacts"):
        support(standing(60), contacts=bad)


@pytest.mark.parametrize("frames", [1, 2, 3, 5])
def test_short_clips(frames: int) -> None:
    assert support(standing(frames)).shape == (frames, 2)
