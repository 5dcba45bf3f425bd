"""Which dances fit a song."""

import numpy as np
import pytest

from choreo.music.beat_tracking.beats import NO_BEATS, Beats
from choreo.music.tagging.dances import DANCES, dances_by_tempo, tag_scores, tempo_scores
from choreo.music.tagging.tagger import SongTags
from choreo.text.encoders import text_encoder


def beats(tempo: float, meter: int) -> Beats:
    times = np.arange(32) * 60 / tempo
    return Beats(times, np.arange(32) % meter + 1, np.ones(32), 1.0, meter)


def tagged(**probabilities: float) -> SongTags:
    names, values = tuple(probabilities), np.array([list(probabilities.values())], np.float32)
    return SongTags(names, values, np.zeros((1, 200), np.float32), np.zeros(1))


@pytest.mark.parametrize(("tempo", "meter", "dance"), [(87, 3, "waltz"), (174, 3, "viennese waltz"), (172, 4, "salsa")])
def test_tempo_and_metre(tempo: float, meter: int, dance: str) -> None:
    assert list(DANCES)[int(tempo_scores(list(DANCES.values()), beats(tempo, meter)).argmax())] == dance


def test_no_beats_and_no_tags_decide_nothing() -> None:
    dances = list(DANCES.values())
    assert not tempo_scores(dances, NO_BEATS).any()
    silent = SongTags(("pop",), np.zeros((0, 1), np.float32), np.zeros((0, 200), np.float32), np.zeros(0))
    assert not tag_scores(dances, silent, text_encoder("minilm").encode).any()


def test_tags() -> None:
    encode = text_encoder("minilm").encode
    scores = tag_scores(list(DANCES.values()), tagged(house=0.9, techno=0.8, electronic=0.7), encode)
    assert list(DANCES)[int(scores.argmax())] == "house"


def test_dances_of_a_tempo() -> None:
    assert dances_by_tempo(beats(87, 3)) == ["waltz"]
    assert set(dances_by_tempo(beats(124, 4))) >= {"tango", "house", "disco", "cha cha"}
    assert "waltz" not in dances_by_tempo(beats(87, 4))
    assert dances_by_tempo(NO_BEATS) == []
