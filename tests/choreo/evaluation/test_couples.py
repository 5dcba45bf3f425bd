"""Metrics of couples, on couples whose values are known."""

import numpy as np
import pytest
from small_duet import couples

from choreo.data.couples import mirror_partner
from choreo.errors import InvalidInput
from choreo.evaluation.couples import (
    beat_echo,
    contact_share,
    cross_distances,
    distance_shift,
    distances,
    div_cd,
    fid_cd,
    heading_correlation,
    penetration_share,
)
from choreo.motion.rotations import yaw

LEAD = couples()[0].dancers[0]
ASIDE = np.stack([LEAD, LEAD + np.array((0.0, 0.0, 3.0))])


def turning(rate: float) -> np.ndarray:
    """A standing dancer who turns at a rate, radians per second."""
    pose = LEAD[:1] - LEAD[0, 0] * (1, 0, 1)
    return np.concatenate([pose @ yaw(rate * frame / 30).T for frame in range(90)])


def test_cross_distances_do_not_change_when_both_are_moved_and_turned() -> None:
    features = cross_distances(ASIDE)
    assert features.shape == (24, 100)
    np.testing.assert_allclose(cross_distances(ASIDE @ yaw(0.8).T + (4.0, 0.0, 1.0)), features, atol=1e-9)
    np.testing.assert_allclose(features[:, 0], 3.0)


def test_fid_and_diversity() -> None:
    features = cross_distances(ASIDE)
    assert fid_cd(features, features).value == pytest.approx(0, abs=1e-3)
    assert fid_cd(features + 0.5, features).value == pytest.approx(25, rel=1e-3)
    assert div_cd(np.repeat(features[:1], 5, axis=0)) == 0


def test_an_image_echoes_every_beat_and_one_who_is_late_none() -> None:
    both = np.stack([LEAD, mirror_partner(LEAD)])
    assert beat_echo(both) == 1
    still = np.stack([LEAD, np.repeat(LEAD[:1], len(LEAD), axis=0)])
    assert (beat_echo(still) or 0) < 0.5
    assert beat_echo(still[::-1]) is None or beat_echo(still[::-1]) == 0


def test_touch_is_hand_to_hand() -> None:
    assert contact_share(ASIDE) == 0
    assert contact_share(np.stack([LEAD, LEAD])) == 1


def test_bodies_within_each_other_are_found() -> None:
    assert penetration_share(ASIDE) == 0
    assert penetration_share(np.stack([LEAD, LEAD + np.array((0.05, 0.0, 0.0))])) == 1


def test_headings_correlate_with_those_who_turn_alike() -> None:
    assert heading_correlation(np.stack([turning(1.0), turning(1.0)])) == pytest.approx(1, abs=1e-6)
    assert heading_correlation(np.stack([turning(1.0), turning(-1.0)])) == pytest.approx(-1, abs=1e-6)
    assert heading_correlation(np.stack([turning(1.0), turning(0.0)])) == pytest.approx(0, abs=1e-6)


def test_distances_and_their_shift() -> None:
    np.testing.assert_allclose(distances(ASIDE), 3.0)
    assert distance_shift(distances(ASIDE), distances(ASIDE) + 0.25) == pytest.approx(0.25)


def test_what_is_no_couple_is_refused() -> None:
    with pytest.raises(InvalidInput, match="shape"):
        distances(LEAD)
    with pytest.raises(InvalidInput, match="NaN"):
        distances(ASIDE * np.nan)
