from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic_phrases import WordEncoder, phrase

from retrieval.library.embedding import EmbeddingConfig, Music, Query, QueryEmbedder
from retrieval.library.library import Hit
from retrieval.library.phrases import STATS, Phrase
from retrieval.library.song_summary import SUMMARY
from retrieval.search.rerank import FEATURES, SCORERS, FeatureReranker

ENCODER = WordEncoder()
EMBEDDER = QueryEmbedder(EmbeddingConfig("words", 48))
RERANKER = FeatureReranker(EMBEDDER)
texts = st.sampled_from(["", "a fast turn", "?!", "someone jumps slowly to the left", "x" * 1000])
summaries = st.none() | st.lists(st.floats(-99, 99), min_size=len(SUMMARY), max_size=len(SUMMARY)).map(tuple)
tempos = st.just(0.0) | st.floats(20, 400)
songs = st.none() | st.tuples(tempos, summaries)
statistics = st.lists(st.floats(-9, 9), min_size=len(STATS), max_size=len(STATS)).map(tuple)


def found(query: Query, phrases: Sequence[Phrase]) -> list[Hit]:
    """As a dense search would give them back."""
    words = ENCODER.encode([p.words for p in phrases])
    similarity = EMBEDDER.phrases(phrases, words) @ EMBEDDER.queries([query])[0]
    return [Hit(p, float(s), i, float(s)) for i, (p, s) in enumerate(zip(phrases, similarity, strict=True))]


def score(query: Query, text: str, phrases: Sequence[Phrase]) -> np.ndarray:
    return RERANKER.scores(query, text, found(query, phrases))


def test_there_is_a_scorer_with_no_negative_coefficient_for_each_kind_of_question() -> None:
    assert {kind: len(s.coefficients) for kind, s in SCORERS.items()} == {k: len(f) for k, f in FEATURES.items()}
    assert all(min(scorer.coefficients) >= 0 for scorer in SCORERS.values())


@given(texts, st.booleans(), songs, st.none() | statistics, texts, tempos, summaries, statistics)
def test_scores_are_probabilities_whatever_is_known(text, embedded, song, stats, words, tempo, summary, own) -> None:
    query = Query(ENCODER.encode([text])[0] if embedded else None, song and Music(song[0], None, song[1]), stats)
    scores = score(query, text, [replace(phrase(tempo), words=words, stats=own, music=summary), phrase(0.0)])
    assert scores.shape == (2,)
    assert np.isfinite(scores).all()
    assert ((scores >= 0) & (scores <= 1)).all()


def test_a_better_tempo_never_lowers_the_score() -> None:
    tempos = np.geomspace(100, 100 * 2**0.5, 30)
    for query, text in ((Query(music=Music(100.0)), ""), (Query(ENCODER.encode(["waltz"])[0], Music(100.0)), "waltz")):
        scores = score(query, text, [phrase(t) for t in tempos])
        assert (np.diff(scores) <= 1e-9).all()
        assert scores[0] > scores[-1]


def test_octaves_of_a_tempo_score_alike() -> None:
    scores = score(Query(music=Music(90.0)), "", [phrase(t) for t in (45.0, 90.0, 180.0)])
    assert np.ptp(scores) < 1e-6


def test_motion_as_the_words_ask_scores_higher() -> None:
    axes = {name: tuple(3.0 * (n == name) for n in STATS) for name in ("speed", "turning", "bounce", "arm_speed")}
    for text, name in (("quickly", "speed"), ("she spins", "turning"), ("leaping", "bounce"), ("punches", "arm_speed")):
        query = Query(ENCODER.encode([text])[0])
        scores = score(query, text, [replace(phrase(), stats=axes[n]) for n in axes])
        assert list(axes)[int(np.argmax(scores))] == name
    slow = score(Query(ENCODER.encode(["slowly"])[0]), "slowly", [replace(phrase(), stats=axes["speed"]), phrase()])
    assert slow[0] < slow[1]


def test_the_share_of_the_text_is_found_in_the_whole_similarity() -> None:
    said = [replace(phrase(), words=words, music=(1.0,) * len(SUMMARY)) for words in ("a waltz", "a slow rumba", "")]
    vector = ENCODER.encode(["a waltz"])[0]
    alone = RERANKER.features(q := Query(vector), "", found(q, said))["text"][:, 0]
    query = Query(vector, Music(95.0, 0.5, (0.5,) * len(SUMMARY)), (1.0,) * len(STATS))
    mixed = RERANKER.features(query, "", found(query, said))
    assert mixed["text"][:, 0] == pytest.approx(alone, abs=1e-5)
    assert alone == pytest.approx([1, float(vector @ ENCODER.encode(["a slow rumba"])[0]), 0], abs=1e-5)


def test_kinds_of_question_that_are_not_asked_do_not_count() -> None:
    phrases = [phrase(100.0), phrase(130.0)]
    text, music = Query(ENCODER.encode(["x"])[0]), Music(100.0)
    assert set(RERANKER.features(text, "x", found(text, phrases))) == {"text"}
    assert score(text, "x", phrases)[0] == score(text, "x", phrases)[1]
    both = score(replace(text, music=music), "x", phrases)
    assert both[0] > both[1]


def test_a_song_without_a_beat_or_summary_says_nothing() -> None:
    assert RERANKER.features(q := Query(music=Music(0.0)), "", [Hit(phrase(), 0.0, 0, 0.0)]) == {}
    assert RERANKER.scores(q, "", [Hit(phrase(), 0.0, 0, 0.0)]).tolist() == [0.0]


def test_nothing_found_is_nothing_scored() -> None:
    assert len(RERANKER.scores(Query(ENCODER.encode(["x"])[0]), "x", [])) == 0
