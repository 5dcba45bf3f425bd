import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from choreo.errors import InvalidArtifact, InvalidInput
from retrieval.embedding import EmbeddingConfig, Music, Query, QueryEmbedder, Weights
from retrieval.library import PhraseLibrary
from retrieval.phrases import KINETIC, STATS, Phrase

EMBEDDER = QueryEmbedder(EmbeddingConfig("words", 8))
numbers = st.floats(-1e6, 1e6)
texts = st.none() | st.lists(numbers, min_size=8, max_size=8).map(np.array)
musics = st.none() | st.builds(Music, st.floats(0, 400), st.none() | st.floats(0, 1), st.none() | st.floats(-9, 9))
stats_ = st.none() | st.lists(numbers, min_size=len(STATS), max_size=len(STATS))


def phrase(tempo: float = 120.0, stats: tuple[float, ...] = (1.0,) * len(STATS), energy: float = 1.0) -> Phrase:
    return Phrase(
        id="0" * 16, source="s", start=0.0, licence="", caption="", genre="", style="", words="", tempo=tempo,
        beat_strength=None, energy=energy, num_frames=100, first_row=0, beats=(), stats=stats,
        kinetic=(0.0,) * len(KINETIC), music=None,
    )  # fmt: skip


def embed(query: Query) -> np.ndarray:
    return EMBEDDER.queries([query])[0]


@given(texts, musics, stats_, texts, st.floats(0, 400), stats_)
def test_scores_stay_between_minus_one_and_one_and_are_never_nan(text, music, stats, other, tempo, other_stats) -> None:
    vector = EMBEDDER.phrases(
        [phrase(tempo, tuple(other_stats or (0.0,) * len(STATS)))], (np.zeros(8) if other is None else other)[None]
    )[0]
    score = float(embed(Query(text, music, stats)) @ vector)
    assert np.isfinite(score)
    assert -1 - 1e-5 <= score <= 1 + 1e-5


@pytest.mark.parametrize(
    "query",
    [
        Query(text=np.arange(8.0)),
        Query(music=Music(120.0, None, 0.0)),
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
    block = embedder.phrases(many, np.zeros((8, 8)))[:, 12:]
    assert np.allclose(np.linalg.norm(block, axis=1), np.sqrt(0.15), atol=1e-5)
    assert np.abs(block[:, 0]).max() < 0.5 * np.sqrt(0.15)


def test_a_library_of_one_phrase_has_statistics_too() -> None:
    config = EmbeddingConfig("words", 8).fitted([phrase()])
    assert np.isfinite(QueryEmbedder(config).phrases([phrase()], np.zeros((1, 8)))).all()


def test_the_configuration_survives_json() -> None:
    config = EmbeddingConfig("words", 8, Weights(0.3, 0.3, 0.4)).fitted([phrase(), phrase(90, (2.0,) * len(STATS))])
    assert EmbeddingConfig.from_json(config.to_json()) == config


@pytest.mark.parametrize(
    "change",
    [
        {"version": 99},
        {"stats": ["speed"]},
        {"stats_std": [0.0] * len(STATS)},
        {"stats_mean": [float("nan")] * len(STATS)},
        {"stats_mean": None},
        {"weights": {"text": -1}},
        {"text_dim": 0},
        {"surprise": 1},
    ],
)
def test_a_garbled_configuration_is_an_invalid_artifact(change: dict) -> None:
    with pytest.raises(InvalidArtifact):
        EmbeddingConfig.from_json(EMBEDDER.config.to_json() | change)


@pytest.mark.parametrize("weights", [(0, 1, 1), (1, -1, 1), (1, 1, float("nan"))])
def test_weights_are_positive(weights: tuple[float, float, float]) -> None:
    with pytest.raises(InvalidInput, match="weights"):
        Weights(*weights)


def test_another_encoder_is_refused(library: PhraseLibrary) -> None:
    library.embedder.require("words", 48)
    with pytest.raises(InvalidArtifact, match="words"):
        library.embedder.require("minilm", 384)
