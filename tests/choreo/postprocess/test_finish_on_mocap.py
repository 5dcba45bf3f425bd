"""The finisher on real mocap, made worse in the ways a model's output is."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
from tests_data import data_pack

from choreo.evaluation.kinematics import bone_length_deviation, jerk
from choreo.motion.foot_skating import foot_skating_ratio
from choreo.motion.retarget import retarget
from choreo.motion.skeleton import CONTACT_JOINTS, LEGS, PARENTS, PELVIS
from choreo.postprocess.contacts import FLAT_HEIGHTS, horizontal_speed
from choreo.postprocess.finish import Finished, finish
from choreo.postprocess.floor import floor_curve

from .synthetic_walk import noisy, peak_acceleration

pytestmark = pytest.mark.data
CLIPS = {"cmu": 8, "tang": 12}


@dataclass(frozen=True)
class Case:
    """A clip on its floor, its degraded copy, and both finished."""

    key: str
    clean: np.ndarray
    bad: np.ndarray
    finished_clean: Finished
    finished: Finished


@cache
def cases(pack: str) -> tuple[Case, ...]:
    with np.load(data_pack() / "motion" / f"{pack}.npz") as arrays:
        keys = [key for key in arrays.files if not key.startswith("01_") and len(arrays[key]) >= 90]
        chosen = keys[:: max(1, len(keys) // CLIPS[pack])][: CLIPS[pack]]
        return tuple(case(key, arrays[key][:400] / 1000, seed) for seed, key in enumerate(chosen))


def case(key: str, recording: np.ndarray, seed: int) -> Case:
    clean = retarget(recording).positions
    clean[..., 1] -= floor_curve(clean)[:, None]
    bad = degraded(clean, seed)
    return Case(key, clean, bad, finish(clean), finish(bad))


def degraded(clean: np.ndarray, seed: int) -> np.ndarray:
    """Bones 3 % off, feet that drift by 5 cm, 1 cm of jitter."""
    rng = np.random.default_rng(seed)
    bad, scale = clean.copy(), 1 + 0.03 * rng.standard_normal(22)
    for joint in range(1, 22):
        bad[:, joint] = bad[:, PARENTS[joint]] + scale[joint] * (clean[:, joint] - clean[:, PARENTS[joint]])
    t = np.arange(len(clean)) / 30
    for _, knee, ankle, toe in LEGS:
        frequency, phase = rng.uniform(0.25, 0.6, 2), rng.uniform(0, 2 * np.pi, 2)
        x, z = (0.05 * np.sin(2 * np.pi * f * t + p) for f, p in zip(frequency, phase, strict=True))
        drift = np.stack([x, 0 * t, z], axis=1)
        bad[:, [ankle, toe]] += drift[:, None]
        bad[:, knee] += drift / 2
    return noisy(bad, 0.01, seed)


def planted_speed(positions: np.ndarray, clean: np.ndarray) -> float:
    """Mean speed, m/s, of ankles and toes where those of the recording stand still on the floor."""
    joints = clean[:, CONTACT_JOINTS]
    still = (joints[..., 1] - FLAT_HEIGHTS < 0.03) & (horizontal_speed(joints) < 0.15)
    speed = np.linalg.norm(np.diff(positions[:, CONTACT_JOINTS][..., [0, 2]], axis=0), axis=-1) * 30
    both = still[1:] & still[:-1]
    return float(speed[both].mean()) if both.any() else np.nan


def mean(values: list[float]) -> float:
    return float(np.nanmean(values))


def moved(a: np.ndarray, b: np.ndarray) -> float:
    """Mean distance of joints in metres, where the bodies' places on the floor are put on one another."""
    return float(np.linalg.norm(a - b - drifted(a, b)[:, None], axis=-1).mean())


def drifted(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """How far (T, 3) the first body is from the second over the floor, metres."""
    return (a - b)[:, PELVIS] * (1, 0, 1)


@pytest.mark.parametrize("pack", CLIPS)
def test_skating_falls_towards_that_of_the_recordings(pack: str) -> None:
    """Dancers do slide: what the finisher can take away is what the degradation added."""
    all_ = cases(pack)
    recorded = mean([foot_skating_ratio(c.clean) for c in all_])
    before = mean([foot_skating_ratio(c.bad) for c in all_])
    after = mean([foot_skating_ratio(c.finished.motion.positions) for c in all_])
    assert after - recorded <= 0.5 * (before - recorded)
    assert after - recorded < 0.1


@pytest.mark.parametrize("pack", CLIPS)
def test_feet_that_stood_in_the_recording_stand_again(pack: str) -> None:
    before = mean([planted_speed(c.bad, c.clean) for c in cases(pack)])
    after = mean([planted_speed(c.finished.motion.positions, c.clean) for c in cases(pack)])
    assert after < 0.15 * before


@pytest.mark.parametrize("pack", CLIPS)
def test_bones_are_exact_jitter_is_gone_and_knees_do_not_pop(pack: str) -> None:
    for c in cases(pack):
        p = c.finished.motion.positions
        assert bone_length_deviation(p) < 1e-5, c.key
        assert jerk(p) < 0.3 * jerk(c.bad), c.key
        assert peak_acceleration(p) < 1.2 * peak_acceleration(c.bad), c.key


@pytest.mark.parametrize("pack", CLIPS)
def test_motion_stays_where_it_was_and_on_the_floor(pack: str) -> None:
    for c in cases(pack):
        p, contacts = c.finished.motion.positions, c.finished.contacts
        assert moved(p, c.bad) < 0.04, c.key
        assert moved(p, c.clean) < 0.04, c.key
        assert np.linalg.norm(drifted(p, c.clean), axis=1).mean() < 0.08, c.key
        assert p[..., 1].min() > -0.015, c.key
        # A heel that rises about its planted toe is off its flat height by right.
        heights = p[:, CONTACT_JOINTS[2:], 1][contacts[:, 2:]]
        assert (np.abs(heights - FLAT_HEIGHTS[2]) < 0.03).mean() > 0.97 if len(heights) else True, c.key


@pytest.mark.parametrize("pack", CLIPS)
def test_clean_recordings_are_nearly_left_alone(pack: str) -> None:
    """Those of waltzes, whose feet were recorded too high, are let down by centimetres."""
    for c in cases(pack):
        assert moved(c.finished_clean.motion.positions, c.clean) < 0.025, c.key
    assert mean([moved(c.finished_clean.motion.positions, c.clean) for c in cases(pack)]) < 0.018


@pytest.mark.parametrize("pack", CLIPS)
def test_finishing_twice_changes_little(pack: str) -> None:
    again = [
        moved(finish(c.finished.motion.positions).motion.positions, c.finished.motion.positions) for c in cases(pack)
    ]
    assert mean(again) < 0.01
