"""The warp that lands pauses on beats: what it reaches, and the limits that it keeps whatever it is given."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from choreo.evaluation.beat_alignment import beat_alignment_score
from choreo.evaluation.kinematics import kinetic_energy
from choreo.motion.kinematic_beats import kinematic_beats
from choreo.postprocess.finish import finish_performance
from choreo.postprocess.on_beat import MAX_RATE, MAX_SHIFT_S, beat_warp
from choreo.postprocess.options import FinishOptions

from .synthetic_walk import standing

FPS = 30


def swaying(pauses: np.ndarray, frames: int = 300) -> np.ndarray:
    """A body that sways to and fro and stops at the given seconds, (frames, 22, 3)."""
    phase = np.interp(np.arange(frames) / FPS, pauses, np.arange(len(pauses)))
    positions = standing(frames).copy()
    positions[..., 0] += 0.2 * np.cos(np.pi * phase)[:, None]
    return positions


def off_beat(seed: int, period: float = 0.6, most: float = 0.1, seconds: float = 10.0) -> tuple[np.ndarray, np.ndarray]:
    """Beats, and pauses that miss them by up to `most` seconds."""
    beats = np.arange(0.3, seconds, period)
    missed = np.random.default_rng(seed).uniform(-most, most)
    return beats, np.concatenate([[-period], beats + missed, [seconds + period]])


def test_pauses_come_to_lie_on_the_beats() -> None:
    beats = np.arange(0.5, 9.8, 0.75)
    positions = swaying(np.concatenate([[-0.2], beats + 0.07, [11.0]]))
    warp = beat_warp([positions], beats)
    moved = warp.of(positions)
    before, after = (beat_alignment_score(each, beats) for each in (positions, moved))
    assert before is not None
    assert after is not None
    assert before < 0.5
    assert after > 0.85
    assert warp.document()["applied"]
    assert warp.document()["max_shift_ms"] == pytest.approx(70, abs=20)
    assert kinetic_energy(moved) == pytest.approx(kinetic_energy(positions), rel=0.03)


def test_another_songs_beats_are_met_no_better() -> None:
    own, other, gained, lost = 0.6, 0.47, 0.0, 0.0
    for seed in range(8):
        beats, pauses = off_beat(seed, own)
        positions = swaying(pauses)
        moved = beat_warp([positions], beats).of(positions)
        foreign = np.arange(0.1, 10, other)
        gained += (beat_alignment_score(moved, beats) or 0) - (beat_alignment_score(positions, beats) or 0)
        lost += (beat_alignment_score(moved, foreign) or 0) - (beat_alignment_score(positions, foreign) or 0)
    assert gained / 8 > 0.15
    assert abs(lost / 8) < 0.05


@given(
    seed=st.integers(0, 2**31),
    frames=st.integers(1, 400),
    beats=st.lists(st.floats(-5, 20, allow_nan=False), max_size=60),
    fixed=st.integers(0, 420),
)
@settings(deadline=None, max_examples=150)
def test_the_warp_is_monotone_bounded_and_leaves_the_ends(
    seed: int, frames: int, beats: list[float], fixed: int
) -> None:
    positions = np.cumsum(np.random.default_rng(seed).normal(0, 0.02, (frames, 22, 3)), axis=0)
    warp = beat_warp([positions], beats, FPS, fixed)
    assert warp.shift.shape == (frames,)
    assert np.abs(warp.shift).max() <= MAX_SHIFT_S * FPS + 1e-9
    assert np.abs(np.diff(warp.shift)).max(initial=0) <= MAX_RATE + 1e-9
    assert (np.diff(np.arange(frames) + warp.shift) > 0).all()
    moved = warp.of(positions)
    still = max(fixed, 1)
    np.testing.assert_array_equal(moved[:still], positions[:still])
    np.testing.assert_array_equal(moved[-1], positions[-1])
    assert np.isfinite(moved).all()


@pytest.mark.parametrize("beats", [[], [-1.0, 40.0]], ids=["none", "outside"])
def test_without_beats_nothing_moves(beats: list[float]) -> None:
    positions = swaying(off_beat(0)[1])
    warp = beat_warp([positions], beats)
    assert not warp.applied
    np.testing.assert_array_equal(warp.of(positions), positions)
    assert warp.document() == {
        "applied": False, "beats": 0, "mean_shift_ms": 0.0, "max_shift_ms": 0.0, "max_rate_change": 0.0,
    }  # fmt: skip


def test_a_body_that_never_pauses_is_left_alone() -> None:
    positions = standing(200).copy()
    positions[..., 0] += np.linspace(0, 3, 200)[:, None] ** 2
    assert len(kinematic_beats(positions)) == 0
    assert not beat_warp([positions], np.arange(0, 6, 0.5)).applied


def test_far_from_sure_beats_the_motion_is_where_it_was() -> None:
    pauses = np.arange(-0.4, 11, 0.6)
    positions = swaying(pauses)
    warp = beat_warp([positions], [1.0, 1.6, 8.4, 9.0])
    assert warp.applied
    between = slice(round(2.9 * FPS), round(7.1 * FPS))
    assert not warp.shift[between].any()


def test_all_dancers_move_by_the_same_warp() -> None:
    beats = np.arange(0.5, 9.8, 0.75)
    lead = swaying(np.concatenate([[-0.2], beats + 0.07, [11.0]]))
    follow = lead + np.array([0.0, 0.0, 0.7])
    raw = FinishOptions(smooth=False, bone_lengths=False, foot_lock=False)
    done = finish_performance([lead, follow], FPS, raw, beats)
    np.testing.assert_allclose(done[1].motion.positions - done[0].motion.positions, np.float32([0, 0, 0.7]) + 0 * lead)
    assert done[0].report["on_beat"] == done[1].report["on_beat"]
    assert done[0].report["on_beat"]["applied"]


@pytest.mark.parametrize(("wanted", "applied"), [(None, True), (True, True), (False, False)])
def test_the_option_switches_it_off(wanted: bool | None, applied: bool) -> None:
    beats = np.arange(0.5, 9.8, 0.75)
    positions = swaying(np.concatenate([[-0.2], beats + 0.07, [11.0]]))
    (done,) = finish_performance([positions], FPS, FinishOptions(on_beat=wanted), beats)
    assert done.report["on_beat"]["applied"] is applied
    assert done.motion.meta["finish"]["on_beat"] == done.report["on_beat"]
