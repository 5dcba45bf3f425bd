"""Arms stay outside of the body, bones keep their lengths, and what is clear already does not move."""

import numpy as np
import pytest

from choreo.motion.kinematics import forward_kinematics
from choreo.motion.skeleton import HEAD, L_ELBOW, L_SHOULDER, L_WRIST, NECK, NUM_JOINTS, PARENTS, PELVIS
from choreo.postprocess.arms import HEAD_HEIGHT, HEAD_RADIUS, TRUNK_RADIUS, clear_arms

from .synthetic_walk import walk


def standing(frames: int) -> np.ndarray:
    turns = np.broadcast_to(np.eye(3), (frames, NUM_JOINTS, 3, 3))
    return forward_kinematics(np.tile([0, 0.95, 0], (frames, 1)), turns).copy()


def reaching(frames: int, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """The left wrist on a straight line, the elbow where a bent arm of the right lengths has it."""
    positions = standing(frames)
    share = np.linspace(0, 1, frames)[:, None]
    wrist = start + share * (end - start)
    shoulder = positions[:, L_SHOULDER]
    line = wrist - shoulder
    distance = np.linalg.norm(line, axis=-1)[:, None]
    along = (0.27**2 - 0.25**2 + distance**2) / (2 * distance)
    aside = np.cross(line / distance, [0.0, 0.0, 1.0])
    aside /= np.linalg.norm(aside, axis=-1, keepdims=True)
    positions[:, L_ELBOW] = shoulder + along * line / distance + np.sqrt(np.maximum(0.27**2 - along**2, 0)) * aside
    positions[:, L_WRIST] = wrist
    return positions


def lengths(positions: np.ndarray) -> np.ndarray:
    return np.linalg.norm(positions[:, 1:] - positions[:, PARENTS[1:]], axis=-1)


def test_a_walk_is_returned_as_it_is() -> None:
    positions = walk(90)
    assert (clear_arms(positions) == positions).all()


@pytest.mark.parametrize("depth", [0.0, 0.03])
def test_a_hand_that_passes_through_the_trunk_goes_round_it(depth: float) -> None:
    positions = reaching(60, np.array([0.15, 1.25, 0.3]), np.array([depth, 1.25, -0.2]))
    clear = clear_arms(positions)
    waist, neck = clear[:, PELVIS], clear[:, NECK]
    line = (neck - waist) / np.linalg.norm(neck - waist, axis=-1, keepdims=True)
    offset = clear[:, L_WRIST] - waist
    distance = np.linalg.norm(offset - (offset * line).sum(-1, keepdims=True) * line, axis=-1)
    assert distance.min() > 0.5 * TRUNK_RADIUS
    assert np.allclose(lengths(clear), lengths(positions), atol=1e-9)
    assert np.linalg.norm(np.diff(clear[:, L_WRIST], axis=0), axis=-1).max() * 30 < 8


def test_a_hand_in_the_head_is_moved_out() -> None:
    positions = reaching(60, np.array([0.4, 1.7, 0.2]), np.array([0.02, 1.55, 0.03]))
    clear = clear_arms(positions)
    up = clear[:, HEAD] - clear[:, NECK]
    head = clear[:, HEAD] + HEAD_HEIGHT * up / np.linalg.norm(up, axis=-1, keepdims=True)
    assert np.linalg.norm(positions[:, L_WRIST] - head, axis=-1).min() < 0.7 * HEAD_RADIUS
    assert np.linalg.norm(clear[:, L_WRIST] - head, axis=-1).min() > 0.8 * HEAD_RADIUS
