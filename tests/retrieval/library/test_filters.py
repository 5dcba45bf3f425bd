import numpy as np
import pytest
from synthetic_phrases import WordEncoder

from choreo.errors import InvalidInput
from retrieval.library.embedding import Music, Query
from retrieval.library.filters import EVERYTHING, PhraseFilter
from retrieval.library.library import PhraseLibrary
from retrieval.library.phrases import Phrase
from retrieval.library.table import PhraseTable


def passes(condition: PhraseFilter, phrase: Phrase) -> bool:
    """What a filter means, one phrase at a time."""
    return (
        (not condition.genres or phrase.genre.lower() in {g.lower() for g in condition.genres})
        and (not condition.licences or phrase.licence.lower() in {x.lower() for x in condition.licences})
        and (condition.min_tempo is None or phrase.tempo >= condition.min_tempo)
        and (condition.max_tempo is None or 0 < phrase.tempo <= condition.max_tempo)
    )


FILTERS = [
    EVERYTHING,
    PhraseFilter(genres=frozenset({"HOUSE", "pop"})),
    PhraseFilter(licences=frozenset({"Apache-2.0"})),
    PhraseFilter(licences=frozenset({"cc0"})),
    PhraseFilter(min_tempo=100),
    PhraseFilter(max_tempo=110),
    PhraseFilter(min_tempo=95, max_tempo=120, licences=frozenset({"apache-2.0"})),
]


@pytest.mark.parametrize("condition", FILTERS)
def test_rows_are_those_that_pass_one_by_one(library: PhraseLibrary, condition: PhraseFilter) -> None:
    phrases = [library[i] for i in range(len(library))]
    unknown = [type(p)(**{**vars(p), "tempo": 0.0, "genre": ""}) for p in phrases[:2]]
    table = PhraseTable.of([*phrases, *unknown])
    assert condition.rows(table).tolist() == [passes(condition, p) for p in [*phrases, *unknown]]


def test_each_query_finds_what_its_own_filter_lets_pass(library: PhraseLibrary, words: WordEncoder) -> None:
    queries = [Query(words.encode(["a dancer sways"])[0], Music(100.0))] * len(FILTERS)
    together = library.search_many(queries, 10, FILTERS)
    for i, (hits, condition) in enumerate(zip(together, FILTERS, strict=True)):
        assert len(hits) == sum(passes(condition, library[row]) for row in range(len(library)))
        assert all(passes(condition, hit.phrase) for hit in hits)
        assert hits == library.search(queries[i], 10, condition)


def test_equal_filters_are_searched_in_one_batch(library: PhraseLibrary, monkeypatch: pytest.MonkeyPatch) -> None:
    batches: list[int] = []
    search = library._index.search

    def counted(queries: np.ndarray, k: int, allowed: np.ndarray | None = None) -> object:
        batches.append(len(queries))
        return search(queries, k, allowed)

    monkeypatch.setattr(library._index, "search", counted)
    slow = PhraseFilter(max_tempo=110)
    library.search_many([Query(music=Music(100.0))] * 5, 2, [slow, EVERYTHING, slow, EVERYTHING, slow])
    assert sorted(batches) == [2, 3]


def test_there_must_be_a_filter_for_each_query(library: PhraseLibrary) -> None:
    with pytest.raises(InvalidInput, match="filters"):
        library.search_many([Query()] * 2, 1, [EVERYTHING])


@pytest.mark.parametrize(
    "values", [{"min_tempo": 0}, {"max_tempo": float("nan")}, {"min_tempo": 120, "max_tempo": 100}]
)
def test_senseless_tempos_are_refused(values: dict) -> None:
    with pytest.raises(InvalidInput, match="tempo"):
        PhraseFilter(**values)
