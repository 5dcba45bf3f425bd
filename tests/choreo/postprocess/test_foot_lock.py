"""Foot lock."""

import time

import numpy as np
import pytest

from choreo.motion import kinematics
from choreo.motion.skeleton import BONE_LENGTHS, CONTACT_JOINTS, LEGS, PARENTS
from choreo.postprocess.contacts import detect_contacts
from choreo.postprocess.foot_lock import MAX_CORRECTION, lock_feet

from .synthetic_walk import noisy, peak_acceleration, slid, stance, standing, walk


def lengths(positions: np.ndarray) -> np.ndarray:
    return np.linalg.norm(positions[:, 1:] - positions[:, PARENTS[1:]], axis=-1)


def stance_speed(positions: np.ndarray, flags: np.ndarray, fps: float = 30) -> float:
    """Mean speed of the contact joints (T, 4) in frames whose flag and the next one hold, m/s."""
    speed = np.linalg.norm(np.diff(positions[:, CONTACT_JOINTS], axis=0), axis=-1) * fps
    return float(speed[flags[1:] & flags[:-1]].mean())


def drifting() -> tuple[np.ndarray, np.ndarray]:
    """A rigid walk whose feet slide, and its contacts."""
    fitted = kinematics.fit(slid(walk(), 0.04)).positions
    return fitted, detect_contacts(fitted)


def test_feet_in_contact_stop_sliding() -> None:
    before, contacts = drifting()
    after = lock_feet(before, contacts)
    assert stance_speed(before, contacts) > 0.08
    assert stance_speed(after, contacts) < 0.01


def test_bones_keep_the_length_they_had_in_each_frame() -> None:
    before = slid(noisy(walk(), 0.01), 0.04)
    after = lock_feet(before, detect_contacts(before))
    assert np.allclose(lengths(after), lengths(before), atol=1e-9)


def test_only_legs_move_and_the_rest_rises_or_sinks_as_one() -> None:
    before, contacts = drifting()
    moved = lock_feet(before, contacts) - before
    rest = [j for j in range(22) if j not in (4, 5, 7, 8, 10, 11)]
    assert np.allclose(moved[:, rest], moved[:, [0]])
    assert np.abs(moved[:, 0, [0, 2]]).max() == 0
    assert np.abs(moved[:, 0, 1]).max() < 0.03


def test_a_clean_walk_hardly_moves() -> None:
    clean = walk()
    after = lock_feet(clean, detect_contacts(clean))
    assert np.linalg.norm(after - clean, axis=-1).mean() < 0.005


def test_without_contacts_nothing_moves() -> None:
    clean = walk()
    clean[..., 1] += 1
    assert np.abs(lock_feet(clean, np.zeros((196, 4), bool)) - clean).max() < 1e-3


def test_standing_feet_rest_on_the_floor() -> None:
    before = standing(60)
    before[..., 1] += 0.02
    after = lock_feet(before, np.ones((60, 4), bool))
    assert after[:, [10, 11], 1].max() < 0.04
    assert after[:, [7, 8], 1].max() < 0.101


def test_swinging_feet_stay_out_of_the_floor() -> None:
    before = standing(60)
    before[20:40, [10, 11], 1] -= 0.06
    after = lock_feet(before, np.zeros((60, 4), bool))
    assert after[..., 1].min() > -0.01


def test_corrections_fade_without_a_jerk() -> None:
    before, contacts = drifting()
    assert peak_acceleration(lock_feet(before, contacts)) < 1.4 * peak_acceleration(before)


def test_a_long_glide_is_not_held_back() -> None:
    glide = standing(90)
    glide[..., 2] += np.linspace(0, 0.6, 90)[:, None]
    after = lock_feet(glide, np.ones((90, 4), bool))
    assert np.linalg.norm(after - glide, axis=-1).max() < MAX_CORRECTION + 0.03


def test_a_heel_contact_holds_the_heel() -> None:
    before, contacts = drifting()
    contacts[:, 2:] = False
    after = lock_feet(before, contacts)
    speed = np.linalg.norm(np.diff(after[:, [7, 8]], axis=0), axis=-1) * 30
    held = contacts[1:, :2] & contacts[:-1, :2]
    assert speed[held].mean() < 0.01


def test_a_leg_that_cannot_reach_raises_its_heel_and_keeps_its_toe() -> None:
    """Feet held two centimetres too low for straight legs at the end of a long stance."""
    before = standing(60)
    before[..., 2] += 0.25 * np.linspace(0, 1, 60)[:, None] ** 2
    before[:, [7, 8, 10, 11], 2] -= 0.25 * np.linspace(0, 1, 60)[:, None] ** 2
    before = kinematics.fit(before).positions
    flags = np.ones((60, 4), bool)
    after = lock_feet(before, flags)
    slip = np.linalg.norm(np.diff(after[:, [10, 11]], axis=0), axis=-1) * 30
    assert np.median(slip) < 0.02
    assert np.allclose(lengths(after), BONE_LENGTHS[1:], atol=1e-9)


def test_turned_legs_are_forward_kinematics_of_the_locked_positions() -> None:
    fitted = kinematics.fit(slid(walk(), 0.04))
    after = lock_feet(fitted.positions, detect_contacts(fitted.positions))
    world = kinematics.turn_chains(kinematics.world_rotations(fitted.local), fitted.positions, after, LEGS)
    local = kinematics.local_rotations(world)
    assert np.abs(kinematics.forward_kinematics(after[:, 0], local) - after).max() < 1e-9
    assert np.allclose(local[:, [10, 11]], np.eye(3), atol=1e-9)


def test_stance_is_what_the_walk_says() -> None:
    """The lock holds a foot for its stance and lets it go for its swing."""
    before, contacts = drifting()
    after = lock_feet(before, contacts)
    swing = ~stance(196, 0)
    assert np.linalg.norm(np.diff(after[:, 10], axis=0), axis=-1)[swing[1:]].max() * 30 > 1


@pytest.mark.parametrize(("frames", "limit"), [(196, 0.25), (1800, 1.0)])
def test_the_lock_is_vectorised_over_time(frames: int, limit: float) -> None:
    before = kinematics.fit(slid(walk(frames), 0.04)).positions
    contacts = detect_contacts(before)
    start = time.process_time()
    lock_feet(before, contacts)
    assert time.process_time() - start < limit
