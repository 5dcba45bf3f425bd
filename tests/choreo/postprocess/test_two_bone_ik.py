"""Two-bone inverse kinematics."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from choreo.postprocess.two_bone_ik import STRAIGHT, raise_heel, solve

HIP, KNEE, ANKLE = np.array([0.0, 0.9, 0.0]), np.array([0.0, 0.5, 0.05]), np.array([0.0, 0.1, 0.0])
FORWARD = np.array([0.0, 0.0, 1.0])
LENGTH = np.linalg.norm(KNEE - HIP) + np.linalg.norm(ANKLE - KNEE)


def solve_one(
    hip: np.ndarray, knee: np.ndarray, ankle: np.ndarray, target: np.ndarray, forward: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """`solve` for one leg in one frame."""
    new_knee, new_ankle = solve(*(point[None, None] for point in (hip, knee, ankle, target, forward)))
    return new_knee[0, 0], new_ankle[0, 0]


def bones(hip: np.ndarray, knee: np.ndarray, ankle: np.ndarray) -> list[float]:
    return [float(np.linalg.norm(knee - hip)), float(np.linalg.norm(ankle - knee))]


@given(x=st.floats(-0.5, 0.5), y=st.floats(0.2, 0.75), z=st.floats(-0.5, 0.5))
@settings(max_examples=100, deadline=None)
def test_lengths_are_kept_and_targets_within_reach_are_reached(x: float, y: float, z: float) -> None:
    target = HIP - np.array([x, y, z])
    knee, ankle = solve_one(HIP, KNEE, ANKLE, target, FORWARD)
    assert bones(HIP, knee, ankle) == pytest.approx(bones(HIP, KNEE, ANKLE), abs=1e-9)
    if np.linalg.norm(target - HIP) < 0.98 * LENGTH:
        assert np.linalg.norm(ankle - target) < 1e-9
    else:
        assert np.linalg.norm(np.cross(ankle - HIP, target - HIP)) < 1e-9


def test_a_bent_leg_on_its_target_does_not_move() -> None:
    knee = np.array([0.1, 0.5, 0.2])
    new_knee, new_ankle = solve_one(HIP, knee, ANKLE, ANKLE, FORWARD)
    assert np.allclose(new_knee, knee, atol=1e-9)
    assert np.allclose(new_ankle, ANKLE, atol=1e-9)


def test_a_far_target_straightens_the_leg_but_not_fully() -> None:
    _, ankle = solve_one(HIP, KNEE, ANKLE, HIP - np.array([0, 2.0, 0]), FORWARD)
    assert np.linalg.norm(ankle - HIP) == pytest.approx(max(STRAIGHT * LENGTH, 0.8), abs=1e-6)


def test_the_knee_does_not_pop_while_the_leg_straightens() -> None:
    """A foot dragged out of reach at even speed: the knee must not jump, as it does with a hard limit."""
    knee = np.array([0.0, 0.5, 0.15])
    drop = np.linspace(0.75, 0.95, 60)
    target = HIP - np.stack([0 * drop, drop, 0 * drop], axis=1)
    many = (np.broadcast_to(p, (60, 1, 3)) for p in (HIP, knee, np.array([0.0, 0.12, 0.0])))
    knees, _ = solve(*many, target[:, None], np.broadcast_to(FORWARD, (60, 1, 3)))
    assert np.linalg.norm(np.diff(knees, n=2, axis=0), axis=-1).max() < 0.005


def test_a_knee_that_would_change_sides_in_one_frame_swings_over() -> None:
    """The given knee bends backwards, a little to the left in one half and a little to the right in the other."""
    aside = np.where(np.arange(40) < 20, 0.1, -0.1)
    knee = np.stack([aside, np.full(40, 0.5), np.full(40, -0.15)], axis=1)[:, None]
    hip, ankle, forward = (np.broadcast_to(p, (40, 1, 3)) for p in (HIP, ANKLE, FORWARD))
    knees, _ = solve(hip, knee, ankle, ankle, forward)
    assert knees[..., 2].min() > -1e-9
    assert knees[0, 0, 0] > 0.05
    assert knees[-1, 0, 0] < -0.05
    assert np.linalg.norm(np.diff(knees[:, 0], axis=0), axis=-1).max() * 30 < 6


@pytest.mark.parametrize("aside", [0.002, -0.002, 0.0])
def test_a_straight_leg_bends_forward_whatever_its_noise(aside: float) -> None:
    for backward in (0.02, 0.0, -0.02):
        knee, _ = solve_one(HIP, np.array([aside, 0.5, -backward]), ANKLE, ANKLE + np.array([0, 0.1, 0]), FORWARD)
        assert knee[2] > 0.05


def test_the_heel_rises_about_the_toe() -> None:
    toe = ANKLE + np.array([0.0, -0.06, 0.13])
    raised = raise_heel(HIP, ANKLE, toe, np.array(0.77))
    assert np.linalg.norm(raised - HIP) == pytest.approx(0.77)
    assert np.linalg.norm(raised - toe) == pytest.approx(np.linalg.norm(ANKLE - toe))
    assert raised[1] > ANKLE[1]


def test_the_heel_stays_where_the_leg_reaches() -> None:
    toe = ANKLE + np.array([0.0, -0.06, 0.13])
    assert np.allclose(raise_heel(HIP, ANKLE, toe, np.linalg.norm(ANKLE - HIP)), ANKLE, atol=1e-9)


def test_a_toe_out_of_all_reach_gives_a_straight_line() -> None:
    toe = HIP + np.array([0.0, -3.0, 0.0])
    assert np.allclose(raise_heel(HIP, toe + np.array([0, 0.1, 0.1]), toe, np.array(0.8)), HIP + np.array([0, -0.8, 0]))
