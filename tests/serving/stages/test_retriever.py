"""The retrieval stage over real libraries of synthetic dancing."""

import asyncio
import shutil
import threading
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_phrases import WordEncoder

from choreo.errors import InvalidArtifact, InvalidInput
from choreo.generators.base import Conditioning
from choreo.motion.clip import Motion
from retrieval.library.embedding import Music, Query
from retrieval.library.library import PhraseLibrary
from retrieval.prior.prior import PRIOR_PHRASES
from serving.pipeline.encoded_request import EncodedRequest
from serving.pipeline.fields import parse_fields
from serving.pipeline.phrases import PhraseQuery, RetrievalResult
from serving.pipeline.request import Attachments
from serving.pipeline.validation import validated_request
from serving.settings import Settings
from serving.stages import retriever as stage
from serving.stages.library_watch import BROKEN, MISSING
from serving.stages.retriever import FILTERED, HAS_START, SILENT, Retriever

MEBIBYTE = 1 << 20


def wanted(
    text: str | None = "bounce", num_frames: int = 150, start: Motion | None = None, **fields: Any
) -> PhraseQuery:
    """What a request of these fields needs, with a song of 120 beats per minute and an encoder of words."""
    parts = Attachments(audio=None if text else b"a song")
    request = validated_request(parse_fields({"text_prompt": text, **fields}), parts, Settings())
    vector = None if text is None else WordEncoder().encode([text])[0]
    heard = Conditioning(num_frames, text=vector, beats=np.arange(12) / 2)
    encoded = EncodedRequest(heard, Query(text=vector, music=Music(120.0)), "words", 120.0)
    return PhraseQuery.of(replace(request, start=start), encoded)


def run(
    folder: Path, test: Callable[[Retriever], Coroutine[Any, Any, Any]], poll_s: float | None = None, **options: Any
) -> Any:
    async def inside() -> Any:
        retriever = Retriever(folder, options.get("cache_bytes", MEBIBYTE), poll_s)
        try:
            return await test(retriever)
        finally:
            retriever.close()

    return asyncio.run(inside())


def ids(retrieved: RetrievalResult) -> list[str]:
    assert retrieved.prior is not None, retrieved.reason
    return [phrase.id for phrase in retrieved.prior.phrases]


def test_a_prior_names_its_phrases_and_its_library(libraries: tuple[Path, Path]) -> None:
    library = PhraseLibrary.open(libraries[0])
    retrieved = run(libraries[0], lambda r: r.retrieve(wanted()))
    assert retrieved.prior is not None
    assert retrieved.prior.features.shape == (150, 66)
    assert retrieved.library == library.version
    own = {library[i].id: library[i] for i in range(len(library))}
    used = retrieved.prior.phrases
    assert 1 <= len(used) <= PRIOR_PHRASES
    for phrase in used:
        original = own[phrase.id]
        assert (phrase.source, phrase.start, phrase.genre) == (original.source, original.start, original.genre)
        assert (phrase.caption, phrase.licence) == (original.caption, "apache-2.0")
        assert 0 <= phrase.score <= 1
        assert -1 <= phrase.similarity <= 1
    assert sum(phrase.weight for phrase in used) == pytest.approx(1, abs=1e-3)
    assert retrieved.document() == {
        "used": True, "reason": None, "library": library.version[:12], "coverage": 1.0,
    }  # fmt: skip
    assert set(retrieved.phrases()[0]) == {
        "id", "score", "similarity", "weight", "source", "start", "genre", "caption", "licence",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("beats", "tempo"),
    [
        (np.arange(150) / 30, 1800.0), (np.array([0.0, 4.9]), 60 / 4.9), (np.array([4.9, 4.95]), 1200.0),
        (np.array([0.0]), 0.0), (np.arange(0, 5, 3.0), 20.0), (np.arange(0, 5, 0.2), 300.0),
        (np.array([0.0, 0.04, 4.0, 4.04]), 30.0),
    ],
)  # fmt: skip
def test_beats_that_no_music_has_get_a_prior(libraries: tuple[Path, Path], beats: np.ndarray, tempo: float) -> None:
    query = replace(wanted(), beats=beats, query=replace(wanted().query, music=Music(tempo)))
    retrieved = run(libraries[0], lambda r: r.retrieve(query))
    assert retrieved.prior is not None, retrieved.reason
    assert retrieved.prior.features.shape == (150, 66)
    assert np.isfinite(retrieved.prior.features).all()


def test_search_shows_what_a_prior_is_made_of(libraries: tuple[Path, Path]) -> None:
    async def test(retriever: Retriever) -> None:
        for variety in (0.0, 0.7):
            query = wanted(num_frames=1500, phrase_variety=variety)
            used = ids(await retriever.retrieve(query))
            found = await retriever.search(query, 50)
            assert found.library is not None
            assert len(found.hits) == found.library.phrases
            assert set(used) <= {hit.phrase.id for hit in found.hits[:PRIOR_PHRASES]}
            assert [hit.rank for hit in found.hits] == list(range(len(found.hits)))
            assert len((await retriever.search(query, 1)).hits) == 1

    run(libraries[0], test)


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        (replace(wanted(), query=Query()), SILENT),
        (replace(wanted(), query=Query(music=Music(0.0))), SILENT),
        (wanted(phrase_genre="polka, jig"), FILTERED),
        (wanted(phrase_licence="proprietary"), FILTERED),
        (wanted(phrase_min_tempo=300.0), FILTERED),
        (wanted(phrase_max_tempo=20.0), FILTERED),
        (wanted(start=Motion(np.zeros((9, 22, 3), np.float32))), HAS_START),
    ],
)
def test_generation_goes_on_without_a_prior_and_says_why(
    libraries: tuple[Path, Path], query: PhraseQuery, reason: str
) -> None:
    retrieved = run(libraries[0], lambda r: r.retrieve(query))
    assert retrieved.prior is None
    version = PhraseLibrary.open(libraries[0]).version[:12]
    assert retrieved.document() == {"used": False, "reason": reason, "library": version, "coverage": 0.0}
    assert retrieved.phrases() == []


def test_filters_choose_among_phrases(libraries: tuple[Path, Path]) -> None:
    library = PhraseLibrary.open(libraries[1])
    genre = library[0].genre
    query = wanted(phrase_genre=f"nothing, {genre.upper()}", phrase_licence="Apache-2.0", phrase_min_tempo=100.0)
    found = run(libraries[1], lambda r: r.search(query, 50))
    assert {hit.phrase.genre for hit in found.hits} == {genre}
    nothing = run(libraries[1], lambda r: r.search(wanted(phrase_genre="polka"), 50))
    assert (list(nothing.hits), nothing.reason) == ([], FILTERED)


def test_without_a_usable_library(tmp_path: Path, libraries: tuple[Path, Path]) -> None:
    broken = shutil.copytree(libraries[0], tmp_path / "broken")
    (broken / "manifest.json").write_text("{}")
    for folder, reason in ((tmp_path / "nowhere", MISSING), (broken, BROKEN)):

        async def test(retriever: Retriever) -> RetrievalResult:
            with pytest.raises(InvalidInput) as caught:
                await retriever.require()
            assert caught.value.field == "phrases"
            assert (await retriever.search(wanted(), 3)).library is None
            assert await retriever.library() is None
            return await retriever.retrieve(wanted())

        document = run(folder, test).document()
        assert document == {"used": False, "reason": reason, "library": None, "coverage": 0.0}


def test_vectors_of_another_text_encoder_are_not_searched_by(libraries: tuple[Path, Path]) -> None:
    async def test(retriever: Retriever) -> None:
        for other in (
            replace(wanted(), text_encoder="minilm"),
            replace(wanted(), query=Query(text=np.ones(384, np.float32))),
        ):
            retrieved = await retriever.retrieve(other)
            assert retrieved.prior is None
            assert "text encoder" in retrieved.reason
            with pytest.raises(InvalidArtifact):
                await retriever.search(other, 3)
        by_song = await retriever.retrieve(replace(wanted(None), text_encoder="minilm"))
        assert by_song.prior is not None
        with pytest.raises(InvalidInput):
            await retriever.require(("minilm", 384))

    run(libraries[0], test)


# The cache


class Counted:
    """Counts builds of priors, and can hold them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.builds = 0
        self.entered, self.go = threading.Event(), threading.Event()
        self.go.set()
        self._build = stage.build_prior
        monkeypatch.setattr(stage, "build_prior", self)

    def __call__(self, *args: Any) -> Any:
        self.builds += 1
        self.entered.set()
        assert self.go.wait(10)
        return self._build(*args)


def test_a_prior_that_was_made_is_the_same_and_made_once(
    libraries: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(retriever: Retriever) -> None:
        first = await retriever.retrieve(wanted(seed=1))
        again = await retriever.retrieve(wanted(seed=2))
        assert counted.builds == 1
        assert first.prior is not None
        assert again.prior is first.prior
        assert first.cache is not None
        assert again.cache is not None
        assert (first.cache.hit, again.cache.hit) == (False, True)
        assert again.cache.bytes == first.cache.bytes > first.prior.features.nbytes
        assert first.document() == again.document()
        await retriever.retrieve(wanted(phrase_variety=0.5))
        await retriever.retrieve(wanted(num_frames=151))
        assert counted.builds == 3
        for _ in range(2):
            nothing = await retriever.retrieve(wanted(phrase_genre="polka"))
        assert nothing.cache is not None
        assert nothing.cache.hit

    counted = Counted(monkeypatch)
    run(libraries[0], test)


def test_equal_requests_at_a_time_wait_for_one_and_may_leave(
    libraries: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(retriever: Retriever) -> None:
        counted.go.clear()
        tasks = [asyncio.create_task(retriever.retrieve(wanted())) for _ in range(4)]
        assert await asyncio.to_thread(counted.entered.wait, 10)
        tasks[0].cancel()
        await asyncio.wait(tasks[:1])
        counted.go.set()
        done = await asyncio.gather(*tasks[1:])
        assert counted.builds == 1
        assert len({id(retrieved.prior) for retrieved in done}) == 1
        again = await retriever.retrieve(wanted())
        assert again.prior is done[0].prior

    counted = Counted(monkeypatch)
    run(libraries[0], test)


def test_a_failure_is_told_to_all_and_not_kept(libraries: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(retriever: Retriever) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(stage, "build_prior", not_finite)
            outcomes = await asyncio.gather(*(retriever.retrieve(wanted()) for _ in range(2)), return_exceptions=True)
        assert all(isinstance(outcome, InvalidArtifact) for outcome in outcomes)
        assert (await retriever.retrieve(wanted())).prior is not None

    build = stage.build_prior

    def not_finite(*args: Any) -> Any:
        built = build(*args)
        built.features[0, 0] = np.nan
        return built

    run(libraries[0], test)


@settings(max_examples=10)
@given(st.lists(st.tuples(st.sampled_from(("bounce", "walk", "kick")), st.integers(60, 400)), max_size=8))
def test_with_and_without_a_cache_priors_are_equal_and_within_its_bound(
    libraries: tuple[Path, Path], asked: list[tuple[str, int]]
) -> None:
    limit = 200_000

    async def all_of(retriever: Retriever) -> list[RetrievalResult]:
        return [await retriever.retrieve(wanted(text, frames)) for text, frames in asked]

    cached = run(libraries[0], all_of, cache_bytes=limit)
    plain = run(libraries[0], all_of, cache_bytes=0)
    for one, other in zip(cached, plain, strict=True):
        np.testing.assert_array_equal(one.prior.features, other.prior.features)
        assert one.phrases() == other.phrases()
        assert one.cache.bytes <= limit
        assert (other.cache.hit, other.cache.bytes) == (False, 0)


# Newer libraries


def test_a_swap_under_load_drops_nothing(libraries: tuple[Path, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(libraries[0], tmp_path / "lib")
    versions = [PhraseLibrary.open(path).version for path in libraries]
    phrases = {
        version: {library[i].id for i in range(len(library))}
        for version, library in zip(versions, map(PhraseLibrary.open, libraries), strict=True)
    }

    async def test(retriever: Retriever) -> None:
        seen: list[str] = []
        number = 0

        async def caller() -> None:
            nonlocal number
            while seen[-5:] != versions[1:] * 5:
                number += 1
                retrieved = await retriever.retrieve(wanted(f"walk {number}"))
                assert set(ids(retrieved)) <= phrases[retrieved.library]
                seen.append(retrieved.library)
                if len(seen) == 10:
                    folder.rename(tmp_path / "old")
                    shutil.copytree(libraries[1], tmp_path / "part").rename(folder)

        async with asyncio.timeout(120):
            await asyncio.gather(*(caller() for _ in range(8)))
        assert set(seen) == set(versions)
        first_new = seen.index(versions[1])
        assert first_new >= 10

    run(folder, test, poll_s=0.001)


def test_who_is_inside_finishes_with_the_library_they_began_with(
    libraries: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(libraries[0], tmp_path / "lib")
    old, new = (PhraseLibrary.open(path).version for path in libraries)

    async def test(retriever: Retriever) -> None:
        await retriever.retrieve(wanted("sway"))
        counted.entered.clear()
        counted.go.clear()
        inside = asyncio.create_task(retriever.retrieve(wanted()))
        assert await asyncio.to_thread(counted.entered.wait, 10)
        shutil.rmtree(folder)
        shutil.copytree(libraries[1], tmp_path / "part").rename(folder)
        await asyncio.to_thread(retriever._watch.look)
        facts = await retriever.library()
        assert facts is not None
        assert facts.version == new
        counted.go.set()
        assert (await inside).library == old
        assert (await retriever.retrieve(wanted())).library == new

    counted = Counted(monkeypatch)
    run(folder, test)


def test_the_event_loop_is_free_while_a_library_is_opened_and_a_prior_is_built(
    libraries: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(retriever: Retriever) -> None:
        loop_thread = threading.get_ident()
        await retriever.retrieve(wanted())
        assert threads
        assert loop_thread not in threads

    threads: set[int] = set()

    def noted(work: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            threads.add(threading.get_ident())
            return work(*args, **kwargs)

        return call

    monkeypatch.setattr("serving.stages.library_watch.PhraseLibrary.open", noted(PhraseLibrary.open))
    monkeypatch.setattr("retrieval.library.library.PhraseLibrary.search_many", noted(PhraseLibrary.search_many))
    monkeypatch.setattr(stage, "build_prior", noted(stage.build_prior))
    run(libraries[0], test)


def test_closing_leaves_no_task_behind(libraries: tuple[Path, Path]) -> None:
    async def inside() -> None:
        retriever = Retriever(libraries[0], MEBIBYTE, 0.001)
        await retriever.retrieve(wanted())
        assert len(asyncio.all_tasks()) > 1
        retriever.close()
        await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(inside())
