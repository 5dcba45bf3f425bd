from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from choreo.errors import InvalidArtifact, InvalidInput
from retrieval.library.embedding import BLOCKS, EmbeddingConfig, Music, PhraseColumns, Query, QueryEmbedder, Weights
from retrieval.library.library import PhraseLibrary
from retrieval.library.phrases import STATS, Phrase
from retrieval.library.song_summary import PATTERN, SUMMARY

EMBEDDER = QueryEmbedder(EmbeddingConfig("words", 8))
numbers = st.floats(-1e6, 1e6)
texts = st.none() | st.lists(numbers, min_size=8, max_size=8).map(np.array)
summaries = st.none() | st.lists(numbers, min_size=len(SUMMARY), max_size=len(SUMMARY))
musics = st.none() | st.builds(Music, st.floats(0, 400), st.none() | st.floats(0, 1), summaries)
stats_ = st.none() | st.lists(numbers, min_size=len(STATS), max_size=len(STATS))


def phrase(tempo: float = 120.0, stats: tuple[float, ...] = (1.0,) * len(STATS), energy: float = 1.0) -> Phrase:
    return Phrase(
        id="0" * 16, source="s", start=0.0, licence="", caption="", genre="", style="", words="", tempo=tempo,
        beat_strength=None, energy=energy, num_frames=100, first_row=0, beats=(), stats=stats,
        music=None,
    )  # fmt: skip


def embed(query: Query) -> np.ndarray:
    return EMBEDDER.queries([query])[0]


@given(texts, musics, stats_, texts, st.floats(0, 400), stats_, summaries)
def test_scores_stay_between_minus_one_and_one_and_are_never_nan(
    text, music, stats, other, tempo, other_stats, summary
) -> None:
    own = replace(phrase(tempo, tuple(other_stats or (0.0,) * len(STATS))), music=summary and tuple(summary))
    vector = EMBEDDER.phrases([own], (np.zeros(8) if other is None else other)[None])[0]
    score = float(embed(Query(text, music, stats)) @ vector)
    assert np.isfinite(score)
    assert -1 - 1e-5 <= score <= 1 + 1e-5


@pytest.mark.parametrize(
    "query",
    [
        Query(text=np.arange(8.0)),
        Query(music=Music(120.0)),
        Query(stats=(1.0,) * len(STATS)),
        Query(np.arange(8.0), Music(120.0)),
        Query(np.arange(8.0), Music(120.0), (1.0,) * len(STATS)),
    ],
)
def test_a_query_that_agrees_in_the_blocks_it_has_scores_one(query: Query) -> None:
    config = EmbeddingConfig("words", 8, energy_mean=float(np.log(1.001)))
    embedder = QueryEmbedder(config)
    vector = embedder.phrases([phrase()], np.arange(8.0)[None])[0]
    assert float(embedder.queries([query])[0] @ vector) == pytest.approx(1, abs=1e-6)


def test_octaves_of_a_tempo_are_one_and_half_an_octave_is_the_opposite() -> None:
    vectors = {t: embed(Query(music=Music(t))) for t in (60.0, 120.0, 240.0, 120 * 2**0.5)}
    own = EMBEDDER.phrases([phrase(120.0, energy=1 - 1e-3)], np.zeros((1, 8)))[0]
    own /= np.linalg.norm(own[8:12])
    assert np.allclose(vectors[60.0], vectors[120.0], atol=1e-6)
    assert np.allclose(vectors[240.0], vectors[120.0], atol=1e-6)
    assert float(vectors[120.0] @ vectors[120 * 2**0.5]) < 0


@pytest.mark.parametrize(
    "query", [Query(), Query(np.zeros(8)), Query(music=Music(0.0)), Query(stats=(0.0,) * len(STATS))]
)
def test_a_query_that_says_nothing_is_all_zeros(query: Query) -> None:
    assert not embed(query).any()


@pytest.mark.parametrize(
    ("query", "field"),
    [
        (Query(np.zeros(7)), "text"),
        (Query(np.full(8, np.nan)), "text"),
        (Query(music=Music(float("nan"))), "music"),
        (Query(music=Music(-1.0)), "music"),
        (Query(music=Music(120.0, None, (1.0,))), "music"),
        (Query(music=Music(0.0, None, (float("nan"),) * len(SUMMARY))), "music"),
        (Query(stats=(1.0,)), "stats"),
        (Query(stats=(float("inf"),) * len(STATS)), "stats"),
    ],
)
def test_broken_blocks_are_named(query: Query, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        embed(query)
    assert caught.value.field == field


def test_one_statistic_with_a_large_unit_does_not_decide_alone() -> None:
    many = [phrase(stats=(1000.0 * i, *([float(i % 2)] * (len(STATS) - 1)))) for i in range(8)]
    embedder = QueryEmbedder(EmbeddingConfig("words", 8).fitted(many))
    block = embedder.block(embedder.phrases(many, np.zeros((8, 8))), "motion")
    assert np.allclose(np.linalg.norm(block, axis=1), np.sqrt(0.15), atol=1e-5)
    assert np.abs(block[:, 0]).max() < 0.5 * np.sqrt(0.15)


def test_a_library_of_one_phrase_has_statistics_too() -> None:
    config = EmbeddingConfig("words", 8).fitted([phrase()])
    assert np.isfinite(QueryEmbedder(config).phrases([phrase()], np.zeros((1, 8)))).all()


def test_the_configuration_survives_json() -> None:
    config = EmbeddingConfig("words", 8, Weights(0.3, 0.1, 0.1, 0.1, 0.4)).fitted(
        [phrase(), phrase(90, (2.0,) * len(STATS))]
    )
    assert EmbeddingConfig.from_json(config.to_json()) == config


@pytest.mark.parametrize(
    "change",
    [
        {"version": 99},
        {"stats": ["speed"]},
        {"stats_std": [0.0] * len(STATS)},
        {"stats_mean": [float("nan")] * len(STATS)},
        {"stats_mean": None},
        {"summary": ["loudness"]},
        {"summary_std": [1.0]},
        {"text_mean": [1.0]},
        {"weights": {"text": -1}},
        {"text_dim": 0},
        {"surprise": 1},
    ],
)
def test_a_garbled_configuration_is_an_invalid_artifact(change: dict) -> None:
    with pytest.raises(InvalidArtifact):
        EmbeddingConfig.from_json(EMBEDDER.config.to_json() | change)


@pytest.mark.parametrize("weights", [(0, 1, 1, 1, 1), (1, -1, 1, 1, 1), (1, 1, 1, 1, float("nan"))])
def test_weights_are_positive(weights: tuple[float, ...]) -> None:
    with pytest.raises(InvalidInput, match="weights"):
        Weights(*weights)


def test_another_encoder_is_refused(library: PhraseLibrary) -> None:
    library.embedder.require("words", 48)
    with pytest.raises(InvalidArtifact, match="words"):
        library.embedder.require("minilm", 384)


def with_music(values: float, source: str = "s") -> Phrase:
    return replace(phrase(), source=source, music=tuple(values + i % 5 for i in range(len(SUMMARY))))


def test_a_song_is_likest_to_phrases_whose_music_sums_up_alike() -> None:
    many = [with_music(0.0), with_music(5.0), with_music(10.0)]
    embedder = QueryEmbedder(EmbeddingConfig("words", 8).fitted(many))
    scores = (
        embedder.phrases(many, np.zeros((3, 8))) @ embedder.queries([Query(music=Music(120.0, None, many[2].music))])[0]
    )
    assert list(np.argsort(-scores)) == [2, 1, 0]


def test_what_a_phrase_lacks_is_neither_like_nor_unlike() -> None:
    many = [with_music(0.0), with_music(10.0), phrase()]
    embedder = QueryEmbedder(EmbeddingConfig("words", 8).fitted(many))
    vectors = embedder.phrases(many, np.zeros((3, 8)))
    for summary in (many[0].music, many[1].music):
        like = embedder.queries([Query(music=Music(120.0, None, summary))])[0]
        scores = vectors @ like
        assert min(scores[:2]) < scores[2] < max(scores[:2])
    found = embedder.cosines(like[None], vectors)
    assert np.isnan(found[2]).tolist() == [name in ("text", "pattern", "timbre", "motion") for name in BLOCKS]


def test_a_summary_without_a_beat_still_searches() -> None:
    query = embed(Query(music=Music(0.0, None, (1.0,) * len(SUMMARY))))
    assert float((query**2).sum()) > 0
    assert not EMBEDDER.block(query, "rhythm").any()


def test_what_all_texts_share_is_taken_off() -> None:
    """Two captions that begin alike, and a question that begins so, too, but is about the second."""
    common, first, second = np.eye(8)[0], np.eye(8)[1], np.eye(8)[2]
    texts = np.stack([3 * common + first, 3 * common + second])
    config = EmbeddingConfig("words", 8).fitted([phrase()] * 2, texts)
    embedder = QueryEmbedder(config)
    cosines = embedder.phrases([phrase()] * 2, texts) @ embedder.queries([Query(3 * common + second)])[0]
    plain = EMBEDDER.phrases([phrase()] * 2, texts) @ EMBEDDER.queries([Query(3 * common + second)])[0]
    assert cosines[1] == pytest.approx(plain[1], abs=1e-6) == pytest.approx(1, abs=1e-6)
    assert cosines[0] < 0.5 < plain[0]
    assert EmbeddingConfig.from_json(config.to_json()) == config


def test_a_library_of_one_sentence_can_still_be_asked_for_it() -> None:
    texts = np.ones((3, 8))
    embedder = QueryEmbedder(EmbeddingConfig("words", 8).fitted([phrase()] * 3, texts))
    assert embedder.phrases([phrase()], texts[:1]) @ embedder.queries([Query(np.ones(8))])[0] == pytest.approx(1)


def test_a_phrase_without_words_has_no_text() -> None:
    config = EmbeddingConfig("words", 8).fitted([phrase()] * 2, np.stack([np.ones(8), np.zeros(8)]))
    embedder = QueryEmbedder(config)
    assert not embedder.block(embedder.phrases([phrase()], np.zeros((1, 8))), "text").any()


def test_columns_are_as_phrases_and_no_chunk_shows() -> None:
    many = [with_music(float(i)) if i % 3 else replace(phrase(100.0 + i), beat_strength=0.5) for i in range(9)]
    columns, texts = PhraseColumns.of(many), np.random.default_rng(0).normal(size=(9, 8))
    config = EmbeddingConfig("words", 8).fitted(many, texts)
    assert config == EmbeddingConfig("words", 8).fitted(columns, texts)
    whole = QueryEmbedder(config).phrases(many, texts)
    assert np.array_equal(whole, QueryEmbedder(config).phrases(columns, texts))
    one_by_one = [QueryEmbedder(config).phrases([p], t[None])[0] for p, t in zip(many, texts, strict=True)]
    assert np.allclose(whole, one_by_one, atol=1e-7)


def test_no_phrases_embed_to_nothing() -> None:
    assert EMBEDDER.phrases([], np.zeros((0, 8))).shape == (0, EMBEDDER.config.dim)
    assert EMBEDDER.queries([]).shape == (0, EMBEDDER.config.dim)


def test_pattern_numbers_are_the_last_of_a_summary() -> None:
    assert SUMMARY[-len(PATTERN) :] == PATTERN
