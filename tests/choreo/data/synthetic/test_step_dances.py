"""Step dances: feet, counts, turns, places on the floor, sentences, and bad input."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from choreo.data.synthetic.choreography import LEFT, RIGHT
from choreo.data.synthetic.clips import synthetic_clips
from choreo.data.synthetic.songs import song_in_style
from choreo.data.synthetic.step_dances.body import animate
from choreo.data.synthetic.step_dances.catalogue import STEP_DANCES
from choreo.data.synthetic.step_dances.dancing import dance_steps
from choreo.data.synthetic.step_dances.figures import StepDance
from choreo.data.synthetic.step_dances.floor_plan import RADIUS, place, plan, start
from choreo.data.synthetic.step_dances.holds import Carriage
from choreo.errors import InvalidInput
from choreo.evaluation.beat_alignment import beat_alignment_score
from choreo.motion.foot_skating import foot_skating_ratio
from choreo.motion.kinematics import forward_kinematics, heading
from choreo.motion.skeleton import BONE_LENGTHS, L_FOOT, NECK, PARENTS, PELVIS, R_FOOT, TOE_HEIGHT

NAMES = list(STEP_DANCES)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(NAMES), st.floats(0, 1), st.floats(0.1, 9), st.integers(0, 10**6))
def test_any_dance_is_rigid_and_stands_on_the_floor(name: str, pace: float, seconds: float, seed: int) -> None:
    slow, fast = STEP_DANCES[name].tempos
    danced = dance_steps(name, slow + pace * (fast - slow), seconds, seed)
    p = danced.motion.positions.astype(np.float64)
    assert len(p) == round(30 * seconds)
    assert np.isfinite(p).all()
    assert np.abs(np.linalg.norm(p[:, 1:] - p[:, PARENTS[1:]], axis=-1) - BONE_LENGTHS[1:]).max() < 1e-5
    assert danced.motion.rotations is not None
    assert np.abs(forward_kinematics(p[:, 0], danced.motion.rotations) - p).max() < 1e-5
    assert p[..., 1].min() > TOE_HEIGHT - 2e-3
    assert seconds < 3 or foot_skating_ratio(p) < 0.2  # recordings of these dances have .13 to .29
    assert np.linalg.norm(np.diff(p, axis=0), axis=-1).max(initial=0) * 30 < 12


@pytest.mark.parametrize("name", NAMES)
def test_a_foot_on_the_floor_stands_exactly_still(name: str) -> None:
    tempo = float(np.mean(STEP_DANCES[name].tempos))
    for seed in range(3):
        p = dance_steps(name, tempo, 12.0, seed).motion.positions.astype(np.float64)
        toes = p[:, [L_FOOT, R_FOOT]]
        down = (toes[..., 1] < TOE_HEIGHT + 1e-4)[:-1] & (toes[..., 1] < TOE_HEIGHT + 1e-4)[1:]
        moved = np.linalg.norm(np.diff(toes, axis=0), axis=-1)
        assert moved[down].max() < 2e-3
        assert down.any(1).mean() > 0.97


@pytest.mark.parametrize("name", NAMES)
def test_the_body_pauses_on_its_own_beats_and_not_between_them(name: str) -> None:
    slow, fast = STEP_DANCES[name].tempos
    own: list[float] = []
    shifted: list[float] = []
    for seed in range(4):
        danced = dance_steps(name, slow + (fast - slow) * seed / 3, 20.0, seed)
        half = 0.5 * np.diff(danced.beats)[0]
        own.append(beat_alignment_score(danced.motion.positions, danced.beats) or 0.0)
        shifted.append(beat_alignment_score(danced.motion.positions, danced.beats + half) or 0.0)
    assert np.mean(own) > 0.25
    assert np.mean(own) > np.mean(shifted) + 0.1


@pytest.mark.parametrize("name", NAMES)
def test_knees_bend_forwards_and_never_lock(name: str) -> None:
    p = dance_steps(name, float(np.mean(STEP_DANCES[name].tempos)), 12.0, 2).motion.positions.astype(np.float64)
    for hip, knee, ankle in ((1, 4, 7), (2, 5, 8)):
        thigh, shin = p[:, knee] - p[:, hip], p[:, ankle] - p[:, knee]
        cos = (thigh * shin).sum(-1) / np.linalg.norm(thigh, axis=-1) / np.linalg.norm(shin, axis=-1)
        assert np.degrees(np.arccos(cos)).min() > 4


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("role", ["lead", "follow"])
def test_tables_alternate_the_weight_and_fill_their_beats(name: str, role: str) -> None:
    for figure in STEP_DANCES[name].figures.values():
        counts = [fall.count for fall in figure.footfalls]
        assert counts == sorted(set(counts))
        assert counts[0] >= 1
        assert counts[-1] < figure.beats + 2
        standing = LEFT + RIGHT - figure.footfalls[0].foot
        for fall in figure.footfalls:
            assert fall.foot != standing
            standing = fall.foot if fall.weight else standing
        foot = figure.begins_on(role)  # type: ignore[arg-type]
        placed, stance = place(figure, start(LEFT + RIGHT - foot), 0.4, role)  # type: ignore[arg-type]
        assert len(placed) == len(figure.footfalls)
        # Some figure can follow.
        free = LEFT + RIGHT - stance.foot
        assert any(other.begins_on(role) == free for other in STEP_DANCES[name].figures.values())  # type: ignore[arg-type]


@pytest.mark.parametrize("name", NAMES)
def test_a_long_dance_stays_within_a_few_metres_and_varies(name: str) -> None:
    for seed in range(4):
        placed, sections = plan(STEP_DANCES[name], 240, 0.55, "lead", np.random.default_rng(seed))
        assert max(float(np.linalg.norm(each.centre)) for each in placed) < RADIUS + 2.0
        assert len({section.name for section in sections}) >= 3
        assert all(one.beat + one.beats == other.beat for one, other in pairwise(sections))


def test_natural_turns_turn_right_and_reverse_turns_left() -> None:
    for name, side in (("natural turn", -1.0), ("reverse turn", 1.0)):
        figure = STEP_DANCES["waltz"].figures[name]
        for role in ("lead", "follow"):
            foot = figure.begins_on(role)
            _, stance = place(figure, start(LEFT + RIGHT - foot), 0.4, role)
            assert stance.heading == pytest.approx(side * np.radians(270))


def test_the_follower_mirrors_the_leader_through_the_middle_between_them() -> None:
    figure = STEP_DANCES["rumba"].figures["box"]
    lead, _ = place(figure, start(RIGHT), 0.3, "lead")
    follow, _ = place(figure, start(LEFT), 0.3, "follow")
    for one, other in zip(lead, follow, strict=True):
        assert one.of.foot != other.of.foot
        np.testing.assert_allclose(one.centre, -other.centre, atol=1e-9)


def test_waltz_rises_and_tango_does_not() -> None:
    heights = {}
    for name in ("waltz", "tango"):
        toes, pelvis = [], []
        for seed in range(4):
            p = dance_steps(name, float(np.mean(STEP_DANCES[name].tempos)), 20.0, seed).motion.positions
            toes.append(np.mean(p[:, 0, 1] > 0.98))
            pelvis.append(np.median(p[:, 0, 1]))
        heights[name] = (np.mean(toes), np.mean(pelvis))
    assert heights["waltz"][0] > 0.07
    assert heights["tango"][0] < 0.02
    assert heights["tango"][1] < heights["waltz"][1] - 0.03


def test_the_trunk_sways_to_the_side_that_the_table_says() -> None:
    """In the second half of a box step of the leader; the follower's left is the leader's right."""
    dance = STEP_DANCES["waltz"]
    box = StepDance(dance.genre, dance.tempos, dance.music, dance.character, {"box": dance.figures["box step"]}, ())
    for role in ("lead", "follow"):
        placed, _ = plan(box, 24, 0.4, role, np.random.default_rng(0))
        times, carriage = np.arange(300) / 30 + 4.0, Carriage()
        p = animate(placed, times, 2 / 3, dance.character, role, carriage, np.zeros((300, 3))).positions
        assert np.abs(heading(p)).max() < 0.2
        lean = p[:, NECK, 0] - p[:, PELVIS, 0]
        third, sixth = (round((beat * 2 / 3 - 4.0) * 30) for beat in (8, 11))
        assert np.sign(lean[third] - lean[sixth]) == (1 if role == "lead" else -1)


def test_a_dance_is_deterministic_and_seeds_differ() -> None:
    one, two, other = (dance_steps("rumba", 100, 6.0, seed) for seed in (1, 1, 2))
    assert np.array_equal(one.motion.positions, two.motion.positions)
    assert one.sentences == two.sentences
    assert np.abs(one.motion.positions - other.motion.positions).max() > 0.05


@pytest.mark.parametrize("name", NAMES)
def test_sentences_name_the_dance_and_lie_inside(name: str) -> None:
    dance = STEP_DANCES[name]
    danced = dance_steps(name, float(np.mean(dance.tempos)), 12.0, 3)
    assert len(danced.sentences) > 2
    for sentence in danced.sentences:
        assert 0 <= sentence.start < sentence.end <= 360
    assert all(dance.genre in sentence.text for sentence in danced.sentences[2:])


def test_the_turns_that_a_sentence_names_are_danced() -> None:
    turned = []
    for seed in range(8):
        danced = dance_steps("waltz", 90, 20.0, seed)
        facing = np.unwrap(heading(danced.motion.positions))
        for s in danced.sentences:
            if "natural turn" in s.text and s.end - s.start > 100:
                turned.append(facing[s.end - 1] - facing[s.start])
    assert turned
    assert max(turned) < 0


def test_songs_have_the_metre_of_their_dance() -> None:
    for name, metre in (("waltz", 3), ("viennese_waltz", 3), ("samba", 2), ("tango", 4)):
        dance = STEP_DANCES[name]
        song = song_in_style(name, dance.music, dance.tempos[0], 6.0)
        np.testing.assert_array_equal(song.downbeats, song.beats[::metre])
        danced = dance_steps(name, dance.tempos[0], 6.0)
        np.testing.assert_allclose(danced.downbeats[:4], song.downbeats[:4])


def test_training_clips_are_of_both_kinds() -> None:
    clips = synthetic_clips(6, seed=3)
    assert len({clip.group for clip in clips}) == 6
    steps = [clip for clip in clips if clip.group.startswith("synthetic_steps")]
    assert len(steps) == 3
    assert all(len(clip.captions) > 2 for clip in steps)
    assert all(caption.end <= clip.num_frames for clip in clips for caption in clip.captions)


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (("moonwalk", 120, 4, 0), "dance"),
        (("waltz", 20, 4, 0), "tempo"),
        (("waltz", float("nan"), 4, 0), "tempo"),
        (("waltz", 90, 0, 0), "seconds"),
        (("waltz", 90, 1e9, 0), "seconds"),
        (("waltz", 90, 4, -1), "seed"),
    ],
)
def test_bad_arguments_are_named(arguments: tuple[str, float, float, int], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        dance_steps(*arguments)
    assert caught.value.field == field
