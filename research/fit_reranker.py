"""Fit the reranker's models on the training split and print them as `SCORERS` of `retrieval.search.rerank`."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from bench.command import DATA
from bench.phrase_pool import Item, MemoryLibrary, PhrasePool, Question, encoded, read_pool
from bench.reranker_fit import Candidates, candidates_of, fit, joined, text_candidates
from choreo.command_line import exit_code, parse, say
from choreo.data.layouts.packs import is_validation
from choreo.text.encoders import TextEncoder, text_encoder
from retrieval.library.embedding import Query
from retrieval.search.rerank import Scorer


def main(argv: Sequence[str] | None = None) -> int:
    """Fit and print; returns the exit code."""
    given = sys.argv[1:] if argv is None else argv
    return exit_code(lambda: parse(_print_scorers, given, "choreo bench fit_reranker", str(__doc__)))


def _print_scorers(data: Annotated[Path, DATA]) -> None:
    for kind, scorer in fit_all(read_pool(data, say), text_encoder("minilm")).items():
        print(f'    "{kind}": {scorer},')


def training_part(pool: PhrasePool) -> PhrasePool:
    """The pool without phrases of, and questions about, held-out groups."""
    return PhrasePool(
        [item for item in pool.items if not is_validation(item.group)],
        [item for item in pool.bare if not is_validation(item.group)],
        *(
            [q for q in questions if not any(map(is_validation, q.groups))]
            for questions in (pool.captions, pool.descriptions, pool.songs)
        ),
    )


def fit_all(pool: PhrasePool, encoder: TextEncoder) -> dict[str, Scorer]:
    """A model for each kind of query, fitted on the training groups."""
    train = training_part(pool)
    texts = sorted({question.text for question in train.descriptions})
    vectors = dict(zip(texts, encoder.encode(texts), strict=True))
    told = MemoryLibrary(train.items, encoded(train.items, encoder), encoder)
    bare = MemoryLibrary(train.bare, encoded(train.bare, encoder), encoder)
    text = [text_candidates(told, train.captions, vectors), text_candidates(bare, train.descriptions, vectors)]
    return {
        "text": fit(joined(text)),
        "music": fit(song_candidates(told, train.songs)),
        "motion": fit(motion_candidates(told, train.items[::5])),
    }


def song_candidates(library: MemoryLibrary, questions: Sequence[Question]) -> Candidates:
    """Candidates for songs, none from the dance of the song."""
    return candidates_of(library, "music", [(q, Query(music=q.music), True) for q in questions])


def motion_candidates(library: MemoryLibrary, items: Sequence[Item]) -> Candidates:
    """Candidates for motion statistics; phrases of the same activity in other takes are relevant."""
    asked = [Question("", None, frozenset([i.group]), frozenset([i.activity])) for i in items]
    queries = [Query(stats=item.phrase.stats) for item in items]
    return candidates_of(library, "motion", [(q, query, True) for q, query in zip(asked, queries, strict=True)])


if __name__ == "__main__":
    sys.exit(main())
