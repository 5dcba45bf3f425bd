import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from choreo.data.synthetic.dances import MOVES, synthesize_dance
from choreo.errors import InvalidInput
from choreo.motion.foot_skating import foot_skating_ratio
from choreo.motion.kinematics import forward_kinematics, heading
from choreo.motion.skeleton import ANKLE_HEIGHT, BONE_LENGTHS, L_ANKLE, PARENTS, R_ANKLE, TOE_HEIGHT


@settings(max_examples=40)
@given(st.sampled_from(list(MOVES)), st.floats(40, 240), st.floats(0.1, 9), st.integers(0, 10**6))
def test_any_dance_is_rigid_and_stands_on_the_floor(move: str, tempo: float, seconds: float, seed: int) -> None:
    motion, beats, caption = synthesize_dance(move, tempo, seconds, seed)
    p = motion.positions.astype(np.float64)
    assert len(p) == round(30 * seconds)
    assert np.isfinite(p).all()
    assert np.abs(np.linalg.norm(p[:, 1:] - p[:, PARENTS[1:]], axis=-1) - BONE_LENGTHS[1:]).max() < 1e-5
    assert motion.rotations is not None
    assert np.abs(forward_kinematics(p[:, 0], motion.rotations) - p).max() < 1e-5
    assert p[..., 1].min() > TOE_HEIGHT - 2e-3
    assert np.abs(p[0, 0, [0, 2]]).max() < 1e-6
    assert seconds < 3 or foot_skating_ratio(p) < 0.15
    assert np.linalg.norm(np.diff(p, axis=0), axis=-1).max(initial=0) * 30 < 12
    assert np.allclose(np.diff(beats), 60 / tempo)
    assert caption.startswith("a dancer ")


@pytest.mark.parametrize("move", MOVES)
def test_planted_feet_stand_still_and_some_foot_always_stands_unless_it_jumps(move: str) -> None:
    p = synthesize_dance(move, 110, 9.0, seed=5)[0].positions.astype(np.float64)
    ankles = p[:, [L_ANKLE, R_ANKLE]]
    flat = (ankles[..., 1] < ANKLE_HEIGHT + 1e-5)[:-1] & (ankles[..., 1] < ANKLE_HEIGHT + 1e-5)[1:]
    moved = np.linalg.norm(np.diff(ankles, axis=0), axis=-1)
    assert moved[flat].max() < 2e-3
    if move != "jacks":
        assert flat.any(1).mean() > 0.95


@pytest.mark.parametrize("move", MOVES)
def test_knees_bend_forwards_and_never_lock(move: str) -> None:
    p = synthesize_dance(move, 120, 8.0, seed=2)[0].positions.astype(np.float64)
    for hip, knee, ankle in ((1, 4, 7), (2, 5, 8)):
        thigh, shin = p[:, knee] - p[:, hip], p[:, ankle] - p[:, knee]
        cos = (thigh * shin).sum(-1) / np.linalg.norm(thigh, axis=-1) / np.linalg.norm(shin, axis=-1)
        assert np.degrees(np.arccos(cos)).min() > 8


def test_a_body_that_bounces_is_lowest_on_beats() -> None:
    motion, beats, _ = synthesize_dance("bounce", 100, 9.0, seed=4)
    height = motion.positions[:, 0, 1]
    lowest = np.flatnonzero((height[1:-1] < height[:-2]) & (height[1:-1] <= height[2:])) + 1
    assert len(lowest) >= 12
    assert np.abs(lowest[:, None] / 30 - beats).min(1).max() < 0.08


def test_steps_land_on_beats() -> None:
    motion, beats, _ = synthesize_dance("walk", 100, 9.0, seed=4)
    ankles = motion.positions[:, [L_ANKLE, R_ANKLE]]
    flat = ankles[..., 1] < ANKLE_HEIGHT + 1e-3
    landings = np.argwhere(flat[1:] & ~flat[:-1])[:, 0] + 1
    assert len(landings) >= 10
    off = landings[:, None] / 30 - beats
    assert np.abs(off).min(1).max() < 0.12


def test_a_turn_turns() -> None:
    motion, _, caption = synthesize_dance("turn", 120, 4.5, seed=1)
    turned = np.ptp(np.unwrap(heading(motion.positions)))
    assert turned == pytest.approx(2 * np.pi, rel=0.15)
    side = np.sign(np.unwrap(heading(motion.positions))[-1])
    assert ("left" in caption) == (side > 0)
    assert ("right" in caption) == (side < 0)


def test_the_same_arguments_give_the_same_dance_and_seeds_differ() -> None:
    one, two, other = (synthesize_dance("sway", 100, 4.0, seed) for seed in (1, 1, 2))
    assert np.array_equal(one[0].positions, two[0].positions)
    assert one[2] == two[2]
    assert np.abs(one[0].positions - other[0].positions).max() > 0.05


def test_moves_differ() -> None:
    dances = [synthesize_dance(move, 120, 4.0, seed=0)[0].positions for move in MOVES]
    assert len(dances) >= 6
    for i, one in enumerate(dances):
        for other in dances[:i]:
            assert np.abs(one - other).mean() > 0.03


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (("moonwalk", 120, 4, 0), "move"),
        (("kick", 20, 4, 0), "tempo"),
        (("kick", 300, 4, 0), "tempo"),
        (("kick", float("nan"), 4, 0), "tempo"),
        (("kick", 120, 0, 0), "seconds"),
        (("kick", 120, 1e9, 0), "seconds"),
        (("kick", 120, float("nan"), 0), "seconds"),
        (("kick", 120, 4, -1), "seed"),
    ],
)
def test_senseless_arguments_are_named(arguments: tuple, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        synthesize_dance(*arguments)
    assert caught.value.field == field
