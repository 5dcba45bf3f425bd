"""Contacts as a network learns them, and the representation that carries them."""

import numpy as np
import pytest

from choreo.data.clip import Clip, in_representation, motion_features
from choreo.data.synthetic.dances import synthesize_dance
from choreo.motion.planted import PLANTED_HEIGHTS, planted
from choreo.motion.representation import ROOT_VELOCITY_66, ROOT_VELOCITY_70, converted, representation
from choreo.motion.skeleton import CONTACT_JOINTS, MIRROR

MOTION, _, _ = synthesize_dance("side_step", 100, 6.0)
POSITIONS = np.asarray(MOTION.positions, np.float64)


def test_a_foot_is_planted_where_it_is_low_and_slow() -> None:
    positions = np.zeros((6, 22, 3))
    positions[3:, CONTACT_JOINTS[0], 1] = PLANTED_HEIGHTS[0] + 0.01  # the left ankle rises
    positions[:, CONTACT_JOINTS[1], 0] = np.arange(6) * 0.3 / 30  # the right one slides at .3 m/s
    positions[:, CONTACT_JOINTS[2], 2] = np.arange(6) * 0.1 / 30
    contacts = planted(positions)
    np.testing.assert_array_equal(contacts[:, 0], [1, 1, 1, 0, 0, 0])
    np.testing.assert_array_equal(contacts[:, 1:], np.tile([0, 1, 1], (6, 1)))
    assert planted(positions[:1]).shape == (1, 4)


def test_features_with_contacts_are_those_without_and_four_more() -> None:
    plain, _ = ROOT_VELOCITY_66.encode(POSITIONS, heading=0.4)
    features, origin = ROOT_VELOCITY_70.encode(POSITIONS, heading=0.4)
    np.testing.assert_array_equal(features[:, :66], plain)
    np.testing.assert_array_equal(ROOT_VELOCITY_70.contacts_of(features), planted(POSITIONS))
    np.testing.assert_allclose(ROOT_VELOCITY_70.decode(features, origin=origin), POSITIONS, atol=1e-9)
    assert 0.1 < features[:, 66:].mean() < 0.9
    assert ROOT_VELOCITY_66.contacts_of(plain) is None
    assert representation("root-velocity-70") is ROOT_VELOCITY_70


def test_contacts_change_sides_in_a_mirror_and_stay_in_a_turn() -> None:
    features, _ = ROOT_VELOCITY_70.encode(POSITIONS)
    mirrored = POSITIONS[:, list(MIRROR)] * [-1, 1, 1]
    np.testing.assert_allclose(ROOT_VELOCITY_70.mirror(features), ROOT_VELOCITY_70.encode(mirrored)[0], atol=1e-9)
    np.testing.assert_array_equal(ROOT_VELOCITY_70.rotate(features, 1.0)[:, 66:], features[:, 66:])
    np.testing.assert_array_equal(ROOT_VELOCITY_70.full_bones(features)[:, 66:], features[:, 66:])


def test_a_lone_pose_knows_no_contacts() -> None:
    assert ROOT_VELOCITY_70.unknown_in_a_lone_pose == [0, 1, 66, 67, 68, 69]


@pytest.mark.parametrize("target", [ROOT_VELOCITY_66, ROOT_VELOCITY_70])
def test_a_clip_is_the_same_motion_in_another_representation(target: object) -> None:
    features, heading = motion_features(POSITIONS)
    features[0, :2] = 0.5  # a crop knows its first velocity
    clip = Clip("k", "g", "f", features, heading, None, np.zeros((len(features), 4), np.float32), 0.0, "")
    there = in_representation(clip, target)
    assert there.representation is target
    np.testing.assert_allclose(there.features[:, :66], features, atol=1e-5)
    np.testing.assert_allclose(in_representation(there, ROOT_VELOCITY_66).features, features, atol=1e-5)
    np.testing.assert_allclose(converted(features, ROOT_VELOCITY_66, target)[:, :66], features, atol=1e-5)
