from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from choreo.errors import InvalidInput
from retrieval.library.embedding import Music, Query
from retrieval.library.filters import PhraseFilter
from retrieval.library.library import Hit, PhraseLibrary
from retrieval.search import finder as finder_module
from retrieval.search.finder import PhraseFinder, PhraseRequest


class FakeReranker:
    """Likes phrases by the rank that the dense search did not want."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def scores(self, query: Query, text: str, hits: Sequence[Hit]) -> np.ndarray:
        self.seen.append(len(hits))
        return np.linspace(0.5, 1.0, len(hits))


@pytest.fixture
def finder(library: PhraseLibrary) -> PhraseFinder:
    return PhraseFinder(library)


def test_it_finds_what_the_prompt_names(finder: PhraseFinder, words) -> None:
    prompts = [finder.library[i].caption for i in range(6)]
    found = finder.find([PhraseRequest(Query(words.encode([text])[0]), text, top_n=1) for text in prompts])
    assert [hits[0].phrase.caption for hits in found] == prompts


def test_every_answer_is_truncated_ranked_and_on_one_scale(finder: PhraseFinder, words) -> None:
    text = words.encode(["a dancer turns"])[0]
    queries = [Query(text), Query(music=Music(100.0)), Query(text, Music(100.0)), Query(stats=finder.library[2].stats)]
    for top_n in (1, 3, 50):
        for prompt in ("", "a dancer turns"):
            found = finder.find([PhraseRequest(q, prompt, top_n=top_n, variety=v) for q in queries for v in (0, 0.5)])
            for hits in found:
                assert len(hits) == min(top_n, 6)
                assert [hit.rank for hit in hits] == list(range(len(hits)))
                assert all(0 <= hit.score <= 1 and -1 <= hit.similarity <= 1 for hit in hits)
            for hits in found[::2]:
                assert [h.score for h in hits] == sorted((h.score for h in hits), reverse=True)


def test_the_reranker_decides_and_the_similarity_stays(library: PhraseLibrary) -> None:
    reranker = FakeReranker()
    query = Query(music=Music(110.0))
    dense = library.search(query, 6)
    hits = PhraseFinder(library, reranker=reranker).find([PhraseRequest(query, top_n=2)])[0]
    assert [hit.phrase for hit in hits] == [dense[5].phrase, dense[4].phrase]
    assert [hit.similarity for hit in hits] == [dense[5].similarity, dense[4].similarity]
    assert [hit.score for hit in hits] == pytest.approx([1.0, 0.9])


def test_no_more_candidates_are_scored_than_asked_for_or_needed(
    library: PhraseLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    for candidates, top_n, scored in ((4, 2, 4), (2, 5, 5), (100, 1, 6)):
        reranker = FakeReranker()
        monkeypatch.setattr(finder_module, "CANDIDATES", candidates)
        PhraseFinder(library, reranker).find([PhraseRequest(Query(music=Music(90.0)), top_n=top_n)])
        assert reranker.seen == [scored]


def test_requests_do_not_disturb_each_other(finder: PhraseFinder, words) -> None:
    requests = [
        PhraseRequest(Query(words.encode(["kicks"])[0]), "kicks"),
        PhraseRequest(Query(), "nothing"),
        PhraseRequest(Query(music=Music(130.0)), top_n=6, variety=0.7),
        PhraseRequest(Query(np.zeros(48)), "zeros"),
        PhraseRequest(Query(music=Music(90.0)), filter=PhraseFilter(min_tempo=115.0), top_n=6),
    ]
    together = finder.find(requests)
    assert together == [finder.find([request])[0] for request in requests]
    assert [bool(hits) for hits in together] == [True, False, True, False, True]
    assert min(hit.phrase.tempo for hit in together[4]) > 115
    assert finder.find([]) == []


def test_a_greedy_neighbour_changes_no_answer(library: PhraseLibrary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finder_module, "CANDIDATES", 2)
    reranker = FakeReranker()
    modest = PhraseRequest(Query(music=Music(110.0)), top_n=1)
    finder = PhraseFinder(library, reranker)
    alone = finder.find([modest])[0]
    assert finder.find([modest, replace(modest, top_n=6)])[0] == alone
    assert reranker.seen == [2, 2, 6]


def test_a_phrase_asked_by_all_it_is_comes_first_with_similarity_one(finder: PhraseFinder, words) -> None:
    library = finder.library
    for i in range(len(library)):
        own = library[i]
        query = Query(words.encode([own.words])[0], None, own.stats)
        hit = finder.find([PhraseRequest(query, own.words)])[0][0]
        assert (hit.phrase.id, hit.rank) == (own.id, 0)
        assert hit.similarity == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("fields", [{"top_n": 0}, {"variety": -0.1}, {"variety": float("nan")}])
def test_senseless_requests_are_refused(fields: dict) -> None:
    with pytest.raises(InvalidInput, match=next(iter(fields))):
        PhraseRequest(Query(), **fields)
