"""A walk made from formulas: planted stance feet, lifted swing feet, swinging arms, rigid on the canonical skeleton."""

import numpy as np

from choreo.motion.kinematics import fit, forward_kinematics
from choreo.motion.rotations import axis_angle
from choreo.motion.skeleton import LEGS, REST_OFFSETS

CYCLE = 1.2
STANCE = 0.6
"""Fraction of a cycle that a foot stands."""


def standing(frames: int) -> np.ndarray:
    """The rest pose with slightly bent knees, feet flat on the floor, arms hanging."""
    return walk(frames, speed=0.0, swing_height=0.0, sway=0.0)


def walk(
    frames: int = 196, fps: float = 30, speed: float = 0.8, swing_height: float = 0.1, sway: float = 0.4
) -> np.ndarray:
    """(frames, 22, 3) metres, towards +z; feet stand flat on y = 0 for 60 % of each 1.2 s cycle, half a cycle apart."""
    t = np.arange(frames) / fps
    local = np.broadcast_to(np.eye(3), (frames, 22, 3, 3)).copy()
    for joint, side in ((16, 1.0), (17, -1.0)):
        hang = axis_angle(np.array([0.0, 0.0, -1.0]), 1.3 * side)
        swing = axis_angle(np.array([1.0, 0.0, 0.0]), side * sway * np.sin(2 * np.pi * t / CYCLE))
        local[:, joint] = swing @ hang
    root = np.stack([0 * t, 0.92 - 0.02 * sway * np.cos(4 * np.pi * t / CYCLE), speed * t], axis=1)
    positions = forward_kinematics(root, local)
    for number, (hip, knee, ankle, toe) in enumerate(LEGS):
        across = REST_OFFSETS[hip, 0] + REST_OFFSETS[knee, 0] + REST_OFFSETS[ankle, 0]
        foot = _foot_path(t, number / 2, speed, swing_height) + np.array([across, 0.08, 0.0])
        positions[:, knee], positions[:, ankle] = _leg(positions[:, hip], foot, hip, knee, ankle)
        positions[:, toe] = foot + REST_OFFSETS[toe]
    return fit(positions).positions


def stance(frames: int, side: int, fps: float = 30) -> np.ndarray:
    """Which frames of `walk` the left (0) or right (1) foot stands."""
    return (np.arange(frames) / fps / CYCLE + side / 2) % 1 < STANCE


def slid(positions: np.ndarray, amplitude: float, period: float = 2.0, fps: float = 30) -> np.ndarray:
    """The same with both feet (ankle and toe) drifting sideways and along by a slow sine, the knees half as much."""
    out = positions.copy()
    phase = 2 * np.pi * np.arange(len(out)) / fps / period
    drift = amplitude * np.stack([np.sin(phase), 0 * phase, np.cos(phase)], axis=1)
    for _, knee, ankle, toe in LEGS:
        out[:, knee] += drift / 2
        out[:, [ankle, toe]] += drift[:, None]
    return out


def noisy(positions: np.ndarray, sigma: float, seed: int = 0) -> np.ndarray:
    return positions + np.random.default_rng(seed).normal(0, sigma, positions.shape)


def peak_acceleration(positions: np.ndarray, fps: float = 30) -> float:
    return float(np.linalg.norm(np.diff(positions, n=2, axis=0), axis=-1).max() * fps**2)


def _foot_path(t: np.ndarray, offset: float, speed: float, height: float) -> np.ndarray:
    cycles = t / CYCLE + offset
    step, phase = np.floor(cycles), cycles % 1
    progress = np.clip((phase - STANCE) / (1 - STANCE), 0, 1)
    forward = step + progress**3 * (10 - 15 * progress + 6 * progress**2) - offset + STANCE / 2
    rise = height * np.sin(np.pi * progress) ** 2
    return np.stack([0 * t, rise, speed * CYCLE * forward], axis=1)


def _leg(hip: np.ndarray, foot: np.ndarray, *joints: int) -> tuple[np.ndarray, np.ndarray]:
    """Knee and ankle by the law of cosines, knee towards +z."""
    thigh, shin = (np.linalg.norm(REST_OFFSETS[j]) for j in joints[1:])
    reach = foot - hip
    distance = np.linalg.norm(reach, axis=1, keepdims=True)
    assert (distance < thigh + shin).all(), "the walk is too fast for the legs"
    axis = reach / distance
    along = (thigh**2 - shin**2 + distance**2) / (2 * distance)
    forward = np.array([0.0, 0.0, 1.0]) - axis * axis[:, 2:]
    forward /= np.linalg.norm(forward, axis=1, keepdims=True)
    return hip + along * axis + np.sqrt(thigh**2 - along**2) * forward, foot
