"""The ranking quality of phrase retrieval, for prompts and for songs.

* described: phrases have one annotator's description of their take, and questions are those of other annotators (CMU
  index, KIT, BABEL). bare: phrases have no description, only words for how the body moves; questions are those of all
  annotators. A phrase is relevant if it is of the same take, or (activity) of any take of the same activity.
* song: a phrase is relevant if it has the song's genre and is not of the song's own dance. Every dance counts once, and
  all genres count equally.

In cases called `all`, scorers are fitted without the activity that is asked about (five-fold cross-fitting); in those
called `held out`, the scorer is the program's, which never saw these groups. Intervals are 95 % of 2000 bootstrap draws
of questions, or of dances for songs.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import hypergeom

from bench.command import DATA, benchmark, quick
from bench.phrase_pool import Item, MemoryLibrary, PhrasePool, Question, encoded, read_pool
from bench.report import Row, skipped
from bench.reranker_fit import Candidates, fit, joined, text_candidates
from choreo.command_line import say
from choreo.data.layouts.packs import is_validation
from choreo.errors import MissingDependency
from choreo.text.encoders import TextEncoder, text_encoder
from retrieval.library.embedding import Query, Weights
from retrieval.search.cross_encoder import CrossEncoderReranker
from retrieval.search.finder import CANDIDATES
from retrieval.search.rerank import SCORERS, FeatureReranker, Reranker, Scorer

Array = NDArray[np.float64]
Order = Callable[[Question, Query, MemoryLibrary], list[Item]]

DEPTHS: Final = (1, 5, 10)
FOLDS: Final = 5
BLOCKS: Final[Mapping[str, Weights]] = {
    "tempo only": Weights(0.5, 0.35, 1e-6, 1e-6, 0.15),
    "pattern only": Weights(0.5, 1e-6, 0.35, 1e-6, 0.15),
    "timbre only": Weights(0.5, 1e-6, 1e-6, 0.35, 0.15),
    "without pattern": replace(Weights(), pattern=1e-6),
    "without timbre": replace(Weights(), timbre=1e-6),
}


@dataclass(frozen=True)
class Bench:
    """What all cases share."""

    pool: PhrasePool
    encoder: TextEncoder
    vectors: Mapping[str, NDArray[np.float32]]
    resamples: int

    def library(self, items: Sequence[Item], weights: Weights = Weights()) -> MemoryLibrary:
        """A library of these phrases."""
        return MemoryLibrary(items, encoded(items, self.encoder), self.encoder, weights)


@benchmark
def main(
    data: Annotated[Path, DATA], quick: Annotated[bool, quick("prompts only, few resamples")] = False
) -> Iterator[Row]:
    """Prompts, then songs."""
    pool, encoder = read_pool(data, lambda key: None), text_encoder("minilm")
    texts = sorted({question.text for question in pool.descriptions})
    vectors = dict(zip(texts, encoder.encode(texts), strict=True))
    bench = Bench(pool, encoder, vectors, 200 if quick else 2000)
    yield from text_cases(bench)
    if not quick:
        yield from song_cases(bench)


def text_cases(bench: Bench) -> Iterator[Row]:
    """Prompts, on phrases with and without descriptions."""
    pool = bench.pool
    told, bare = bench.library(pool.items), bench.library(pool.bare)
    training = [
        text_candidates(told, pool.captions, bench.vectors),
        text_candidates(bare, pool.descriptions, bench.vectors),
    ]
    folds = [_fold(question) for question in (*pool.captions, *pool.descriptions)]
    crossed = [fit(_without(training, folds, fold)) for fold in range(FOLDS)]
    scored: list[tuple[Array, NDArray[np.bool_]]] = []
    for name, library, questions in (("described", told, pool.captions), ("bare", bare, pool.descriptions)):
        case = f"{name}, all {len(questions)} questions, {len(library.items)} phrases"
        say(case)
        whole = MemoryLibrary(library.items, library.texts, bench.encoder, centred=False)
        yield from _compared(case, bench, library, questions, whole, _crossed(crossed, scored))
        yield from _cross_encoder(case, bench, library, questions)
        held = [question for question in questions if question.held_out]
        some = bench.library([item for item in library.items if is_validation(item.group)])
        for part in (library, some):
            case = f"{name}, {len(held)} held out, {len(part.items)} phrases"
            yield from _compared(case, bench, part, held, None, _reranked(FeatureReranker(part.embedder)))
    scores, right = (np.concatenate([entry[part] for entry in scored]) for part in (0, 1))
    yield Row("text, all questions", "calibration error", calibration_error(scores, right), "")


def _compared(
    case: str,
    bench: Bench,
    library: MemoryLibrary,
    questions: Sequence[Question],
    whole: MemoryLibrary | None,
    reranked: Order,
) -> Iterator[Row]:
    """Rankings of the same phrases, the paired gain of each step, and chance; `whole`: texts not centred."""
    answers = {} if whole is None else {"dense, text not centred": _answers(bench, whole, questions, _dense)}
    answers["dense"] = _answers(bench, library, questions, _dense)
    answers["reranked"] = _answers(bench, library, questions, reranked)
    for method, values in answers.items():
        yield from _text(f"{case}, {method}", bench, values)
    for (before, old), (after, new) in pairwise(answers.items()):
        yield from _text(f"{case}, {after} minus {before}", bench, new - old)
    yield from _chance(case, library, questions)


def song_cases(bench: Bench) -> Iterator[Row]:
    """Songs, on phrases of other dances."""
    pool = bench.pool
    held = [question for question in pool.songs if question.held_out]
    train = [item for item in pool.items if not is_validation(item.group)]
    for where, items, songs in ((f"{len(pool.songs)} songs, other dances", pool.items, pool.songs),
                                (f"{len(held)} songs held out, training dances", train, held)):  # fmt: skip
        case = f"song, {where}"
        say(case)
        library = bench.library(items)
        yield from _songs(case, bench, library, songs, _dense, "dense")
        yield from _songs(case, bench, library, songs, _reranked(FeatureReranker(library.embedder)), "reranked")
        share = [np.mean([item.activity in q.activities for item in items]) for q in songs]
        yield from _by_dance(case, "random", songs, np.repeat(np.array(share)[:, None], len(DEPTHS), 1), bench)
        bare = [replace(q, music=replace(q.music, summary=None)) for q in songs if q.music is not None]
        yield from _songs(case, bench, library, bare, _dense, "tempo and beat strength, no summary")
        for name, weights in BLOCKS.items():
            yield from _songs(case, bench, bench.library(items, weights), songs, _dense, name)
    yield from _both(bench, bench.library(train), held)


def _both(bench: Bench, library: MemoryLibrary, songs: Sequence[Question]) -> Iterator[Row]:
    """A song of one genre with a prompt for calm or lively motion: whether both are respected."""
    for prompt, wants_more in (("slowly and calmly", False), ("fast and energetically", True)):
        vector = bench.encoder.encode([prompt])[0]
        middle = float(np.median([item.phrase.stats[0] for item in library.items]))
        orders: Mapping[str, Order] = {"dense": _dense, "reranked": _reranked(FeatureReranker(library.embedder))}
        for kind, text, music in (("text only", True, False), ("music only", False, True), ("both", True, True)):
            for name, order in orders.items():
                genre, speed = [], []
                for song in songs:
                    query = Query(vector if text else None, song.music if music else None)
                    found = order(replace(song, text=prompt if text else ""), query, library)[: DEPTHS[1]]
                    genre.append(np.mean([item.activity in song.activities for item in found]))
                    speed.append(np.mean([(item.phrase.stats[0] > middle) == wants_more for item in found]))
                case = f"song and '{prompt}', {kind}, {name}"
                yield Row(case, "genre P@5", float(np.mean(genre)), "")
                yield Row(case, "speed P@5", float(np.mean(speed)), "")


def calibration_error(scores: Array, right: NDArray[np.bool_], bins: int = 10) -> float:
    """Expected calibration error (Naeini et al. 2015) of scores (n,) in [0, 1] in bins of equal width."""
    of = np.minimum((scores * bins).astype(int), bins - 1)
    gaps = [(of == b).mean() * abs(scores[of == b].mean() - right[of == b].mean()) for b in set(of.tolist())]
    return float(np.sum(gaps))


def _dense(question: Question, query: Query, library: MemoryLibrary) -> list[Item]:
    hidden = question.groups if question.music is not None else ()
    return [library.items[h.phrase.first_row] for h in library.search_many([query], DEPTHS[-1], hidden=hidden)[0]]


def _reranked(reranker: Reranker, scored: list[tuple[Array, NDArray[np.bool_]]] | None = None) -> Order:
    def order(question: Question, query: Query, library: MemoryLibrary) -> list[Item]:
        hidden = question.groups if question.music is not None else ()
        hits = library.search_many([query], CANDIDATES, hidden=hidden)[0]
        scores = reranker.scores(query, question.text, hits)
        items = [library.items[hit.phrase.first_row] for hit in hits]
        if scored is not None:
            scored.append((scores, np.array([item.activity in question.activities for item in items])))
        return [items[i] for i in np.argsort(-scores, kind="stable")[: DEPTHS[-1]]]

    return order


def _crossed(scorers: Sequence[Scorer], scored: list[tuple[Array, NDArray[np.bool_]]]) -> Order:
    """Rank each question with the scorer that was fitted without its activity."""

    def order(question: Question, query: Query, library: MemoryLibrary) -> list[Item]:
        scorer = scorers[_fold(question)]
        return _reranked(FeatureReranker(library.embedder, {**SCORERS, "text": scorer}), scored)(
            question, query, library
        )

    return order


def _answers(bench: Bench, library: MemoryLibrary, questions: Sequence[Question], order: Order) -> Array:
    """1 where one of the first k phrases is relevant, (questions, 2 * len(DEPTHS)): by take, then by activity."""
    hits = []
    for question in questions:
        found = order(question, Query(bench.vectors[question.text]), library)
        take = [item.group in question.groups for item in found]
        activity = [item.activity in question.activities for item in found]
        hits.append([any(right[:k]) for right in (take, activity) for k in DEPTHS])
    return np.array(hits, np.float64)


def _text(case: str, bench: Bench, values: Array) -> Iterator[Row]:
    names = [f"{kind} R@{k}" for kind in ("take", "activity") for k in DEPTHS]
    for name, column in zip(names, values.T, strict=True):
        yield from _interval(case, name, column, bench.resamples)


def _chance(case: str, library: MemoryLibrary, questions: Sequence[Question]) -> Iterator[Row]:
    total = len(library.items)
    for kind in ("take", "activity"):
        for k in DEPTHS:
            chances = [
                1.0 - hypergeom.pmf(0, total, _right(library, question, kind == "take"), min(k, total))
                for question in questions
            ]
            yield Row(f"{case}, random", f"{kind} R@{k}", float(np.mean(np.array(chances, np.float64))), "")


def _right(library: MemoryLibrary, question: Question, take: bool) -> int:
    if take:
        return sum(item.group in question.groups for item in library.items)
    return sum(item.activity in question.activities for item in library.items)


def _cross_encoder(case: str, bench: Bench, library: MemoryLibrary, questions: Sequence[Question]) -> Iterator[Row]:
    reranker = CrossEncoderReranker(FeatureReranker(library.embedder))
    try:
        answers = _answers(bench, library, questions, _reranked(reranker))
    except MissingDependency as error:
        yield skipped(f"{case}, cross-encoder", str(error))
        return
    yield from _text(f"{case}, cross-encoder", bench, answers)


def _songs(
    case: str, bench: Bench, library: MemoryLibrary, songs: Sequence[Question], order: Order, method: str
) -> Iterator[Row]:
    values = []
    for song in songs:
        right = [item.activity in song.activities for item in order(song, Query(music=song.music), library)]
        values.append([np.mean(right[:k]) for k in DEPTHS])
    yield from _by_dance(case, method, songs, np.array(values), bench)


def _by_dance(case: str, method: str, songs: Sequence[Question], values: Array, bench: Bench) -> Iterator[Row]:
    """Means over genres of means over dances of means over songs."""
    dances = [min(song.groups) for song in songs]
    names = sorted(set(dances))
    genre = {name: min(song.activities) for name, song in zip(dances, songs, strict=True)}
    means = np.array([values[[d == name for d in dances]].mean(0) for name in names])
    kinds = np.array([genre[name] for name in names])
    for k, column in zip(DEPTHS, means.T, strict=True):
        draws = _stratified(column, kinds, bench.resamples)
        value = float(np.mean([column[kinds == kind].mean() for kind in set(kinds.tolist())]))
        yield from _with_interval(f"{case}, {method}", f"genre P@{k}", value, draws)


def _stratified(column: Array, kinds: NDArray[np.str_], resamples: int) -> Array:
    rng = np.random.default_rng(0)
    per_genre = []
    for kind in sorted(set(kinds.tolist())):
        values = column[kinds == kind]
        per_genre.append(values[rng.integers(0, len(values), (resamples, len(values)))].mean(1))
    return np.mean(per_genre, axis=0)


def _interval(case: str, metric: str, values: Array, resamples: int) -> Iterator[Row]:
    rng = np.random.default_rng(0)
    draws = values[rng.integers(0, len(values), (resamples, len(values)))].mean(1)
    yield from _with_interval(case, metric, float(values.mean()), draws)


def _with_interval(case: str, metric: str, value: float, draws: Array) -> Iterator[Row]:
    yield Row(case, metric, value, "")
    low, high = np.percentile(draws, (2.5, 97.5))
    yield Row(case, f"{metric} low", float(low), "")
    yield Row(case, f"{metric} high", float(high), "")


def _fold(question: Question) -> int:
    """The fold of a question; all questions about an activity are in the same fold."""
    return sum(map(ord, min(question.activities))) % FOLDS


def _without(parts: Sequence[Candidates], folds: Sequence[int], fold: int) -> Candidates:
    return joined(parts).of([i for i, other in enumerate(folds) if other != fold])


if __name__ == "__main__":
    sys.exit(main())
