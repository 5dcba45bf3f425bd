"""Ranking of samples: what counts, and the gate that keeps bodies moving."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_text_motion import SPEC, FakeSentenceEncoder, model, swinging

from choreo.evaluation.text_motion import TextMotionEncoder
from choreo.models.tmr import save_text_motion
from choreo.motion.clip import Motion
from choreo.motion.performance import Performance
from serving.pipeline.results import SampleScore
from serving.stages.ranking import TextScores, choose, score

NO_TEXT = TextScores(None)


def measured(*of: tuple[float, float]) -> list[SampleScore]:
    """Scores with these totals and energies."""
    return [SampleScore(i, None, 0.0, None, energy, total) for i, (total, energy) in enumerate(of)]


def solo(positions: np.ndarray) -> Performance:
    return Performance.solo(Motion(positions.astype(np.float32)))


def chosen(scores: list[SampleScore]) -> int:
    (one,) = [each.seed for each in scores if each.chosen]
    return one


def test_the_best_of_those_with_an_ordinary_energy_is_chosen() -> None:
    scores = choose(measured((1.0, 1.0), (2.0, 1.1), (9.0, 0.2), (8.0, 1.6)))
    assert chosen(scores) == 1
    assert [each.admitted for each in scores] == [True, True, False, False]


def test_where_no_energy_is_ordinary_all_are_considered() -> None:
    scores = choose(measured((1.0, 1.0), (2.0, 9.0)))
    assert chosen(scores) == 1
    assert not any(each.admitted for each in scores)


def test_of_equals_the_first_is_chosen() -> None:
    assert chosen(choose(measured((1.0, 1.0), (1.0, 1.0)))) == 0


@given(st.lists(st.tuples(st.floats(-50, 50), st.floats(0, 100)), min_size=1, max_size=16))
def test_one_is_chosen_and_it_is_admitted_where_any_is(of: list[tuple[float, float]]) -> None:
    scores = choose(measured(*of))
    best = scores[chosen(scores)]
    assert best.admitted or not any(each.admitted for each in scores)
    assert all(each.total <= best.total for each in scores if each.admitted == best.admitted)


def test_pauses_on_the_beats_count_for_a_dance_and_sliding_against_it() -> None:
    beats = np.arange(0.5, 7, 0.5)
    phase = np.arange(240) / 30 / 0.5
    positions = np.zeros((240, 22, 3))
    positions[..., 1] = 1.0
    positions[..., 0] = 0.2 * np.cos(np.pi * phase)[:, None]
    on = score(1, solo(positions), beats, None, NO_TEXT)
    off = score(2, solo(positions), beats + 0.25, None, NO_TEXT)
    assert on.beats is not None
    assert off.beats is not None
    assert on.beats > off.beats + 0.5
    assert on.total > off.total
    assert on.energy == off.energy > 0
    sliding = positions - [0, 0.99, 0]
    slid = score(3, solo(sliding), beats, None, NO_TEXT)
    assert slid.skating > 0.5 > on.skating
    assert slid.total < on.total
    assert score(4, solo(positions), [], None, NO_TEXT).beats is None


@pytest.fixture
def texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TextScores:
    save_text_motion(tmp_path, SPEC, model().state_dict())
    monkeypatch.setattr("choreo.evaluation.text_motion.text_encoder", lambda name: FakeSentenceEncoder())
    return TextScores(tmp_path)


def test_the_text_counts_by_the_encoders_cosine_similarity(texts: TextScores) -> None:
    positions = swinging(0, 196)
    encoder = TextMotionEncoder(model(), FakeSentenceEncoder())
    motion, sentence = encoder.motions([positions])[0], encoder.texts(["a waltz"])[0]
    expected = float(motion @ sentence / np.linalg.norm(motion) / np.linalg.norm(sentence))
    assert texts.similarity(positions, "a waltz") == pytest.approx(expected, abs=5e-3)  # weights are kept in half
    one = score(1, solo(positions), [], "a waltz", texts)
    assert one.text == pytest.approx(expected, abs=5e-3)
    assert score(1, solo(positions), [], None, texts).text is None
    assert texts.similarity(positions, "a tango") != texts.similarity(positions, "a waltz")
    assert texts.similarity(positions, "a waltz") == pytest.approx(expected, abs=5e-3)


def test_a_long_motion_is_the_mean_of_its_windows(texts: TextScores) -> None:
    positions = swinging(1, 420)  # 196, 196 and 28 frames, which are too few
    parts = [texts.similarity(positions[first : first + 196], "turns") for first in (0, 196)]
    assert texts.similarity(positions, "turns") == pytest.approx(np.mean([part or 0 for part in parts]), abs=1e-6)
    assert texts.similarity(positions[:1], "turns") is None


def test_without_the_encoder_the_rest_decides(tmp_path: Path) -> None:
    for folder in (None, tmp_path / "nothing"):
        texts = TextScores(folder)
        assert texts.similarity(swinging(0), "a waltz") is None
        assert score(0, solo(swinging(0)), [], "a waltz", texts).text is None
