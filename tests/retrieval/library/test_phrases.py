import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from choreo.data.synthetic.dances import synthesize_dance
from choreo.errors import InvalidInput
from choreo.motion.kinematics import heading
from choreo.motion.rotations import yaw
from retrieval.library.phrases import (
    STATS,
    beat_strength,
    beats_within,
    canonical,
    describe,
    motion_stats,
    quantise,
    words,
)

DANCE, BEATS, CAPTION = synthesize_dance("turn", 120, 4.0, seed=3)


def test_a_phrase_begins_at_the_origin_and_faces_z() -> None:
    moved = DANCE.positions @ yaw(1.0).T + (3.0, 0.0, -2.0)
    still = canonical(moved)
    assert np.allclose(still[0, 0, [0, 2]], 0, atol=1e-9)
    assert heading(still[:1])[0] == pytest.approx(0, abs=1e-9)
    assert np.allclose(still, canonical(DANCE.positions), atol=1e-5)


@given(st.floats(-3.1, 3.1), st.floats(-50, 50), st.floats(-50, 50))
def test_statistics_know_neither_place_nor_heading(angle: float, x: float, z: float) -> None:
    moved = DANCE.positions.astype(np.float64) @ yaw(angle).T + (x, 0.0, z)
    assert np.allclose(motion_stats(moved), motion_stats(DANCE.positions), atol=2e-5)


def test_statistics_tell_dances_apart() -> None:
    stats = {m: dict(zip(STATS, motion_stats(synthesize_dance(m, 120, 4.0)[0].positions), strict=True))
             for m in ("turn", "sway", "jacks", "walk")}  # fmt: skip
    assert stats["turn"]["turning"] > 1.0 > stats["jacks"]["turning"]
    assert stats["walk"]["travel"] > 3 * stats["sway"]["travel"]
    assert stats["jacks"]["bounce"] > stats["sway"]["bounce"]
    assert stats["jacks"]["speed"] > stats["sway"]["speed"]


def test_millimetres_keep_half_a_millimetre() -> None:
    positions = canonical(DANCE.positions)
    assert np.abs(quantise(positions) / 1000 - positions).max() <= 0.5001e-3


@pytest.mark.parametrize("value", [np.nan, np.inf, 40.0])
def test_motion_that_does_not_fit_into_millimetres_is_refused(value: float) -> None:
    positions = DANCE.positions.astype(np.float64)
    positions[5, 3, 0] = value
    with pytest.raises(InvalidInput, match="motion"):
        quantise(positions)


def test_one_frame_is_no_phrase() -> None:
    with pytest.raises(InvalidInput, match="at least 2 frames"):
        motion_stats(DANCE.positions[:1])


def test_tempo_is_that_of_the_beats_and_zero_without_them() -> None:
    phrase, rows = describe(DANCE.positions, beats=BEATS, caption=CAPTION)
    assert phrase.tempo == pytest.approx(120)
    assert rows.shape == (120, 22, 3)
    assert describe(DANCE.positions)[0].tempo == 0


def test_the_id_follows_motion_and_words() -> None:
    first, again = (describe(DANCE.positions, caption="a", source=s)[0] for s in ("x", "y"))
    assert first.id == again.id
    assert (
        len({first.id, describe(DANCE.positions, caption="b")[0].id, describe(DANCE.positions[1:], caption="a")[0].id})
        == 3
    )


def test_beats_outside_the_phrase_are_left_out_and_its_closing_beat_is_kept() -> None:
    assert beats_within([-0.5, -0.01, 0.5, np.nan, 1.0, 1.3], 30).tolist() == [0.0, 0.5, 1.0]


def test_beat_strength_is_high_where_onsets_are_beats() -> None:
    onset = np.zeros(90)
    onset[::15] = 1
    assert beat_strength(onset, np.arange(6) / 2) == pytest.approx(1 - 1 / 15)
    assert beat_strength(np.ones(90), np.arange(6) / 2) == 0
    assert beat_strength(np.zeros(90), [0.0]) == 0
    assert beat_strength(onset, []) is None


def test_words_name_the_genre_once_and_how_it_moves() -> None:
    assert words(DANCE.positions, "A salsa dancer turns.", "salsa").startswith("A salsa dancer turns")
    assert words(DANCE.positions, "A salsa dancer turns.", "salsa").count("salsa") == 1
    assert "waltz" in words(DANCE.positions, "", "waltz")
