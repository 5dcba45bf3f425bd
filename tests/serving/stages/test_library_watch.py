"""Which library is in use while the folder changes."""

import asyncio
import logging
import shutil
from pathlib import Path

import pytest

from choreo.errors import InvalidArtifact, InvalidInput
from retrieval.library.embedding import Music, Query
from retrieval.library.library import PhraseLibrary
from retrieval.library.manifest import MOTION, NAME
from retrieval.search.finder import PhraseFinder, PhraseRequest
from serving.stages.library_watch import BROKEN, MISSING, LibraryWatch

WORDS = ("words", 48)


def put(library: Path, folder: Path) -> None:
    """Put a copy of a library into a folder's place, as a build does."""
    part = folder.with_name("part")
    shutil.copytree(library, part)
    if folder.exists():
        folder.rename(folder.with_name("old"))
        shutil.rmtree(folder.with_name("old"))
    part.rename(folder)


def version(watch: LibraryWatch) -> str:
    return "" if watch.finder is None else watch.finder.library.version


@pytest.fixture
def folder(tmp_path: Path, libraries: tuple[Path, Path]) -> Path:
    put(libraries[0], tmp_path / "lib")
    return tmp_path / "lib"


def test_a_newer_library_takes_the_place_and_the_older_one_stays_usable(
    folder: Path, libraries: tuple[Path, Path]
) -> None:
    watch = LibraryWatch(folder, WORDS)
    assert watch.finder is None
    watch.look()
    old = watch.finder
    assert old is not None
    put(libraries[1], folder)
    assert watch.finder is old
    watch.look()
    assert watch.finder is not old
    assert version(watch) == PhraseLibrary.open(libraries[1]).version
    assert old.library.motion(old.library[0]).shape == (old.library[0].num_frames, 22, 3)


def test_an_equal_library_changes_nothing(folder: Path, libraries: tuple[Path, Path]) -> None:
    watch = LibraryWatch(folder)
    watch.look()
    before = watch.finder
    put(libraries[0], folder)
    watch.look()
    assert watch.finder is before
    assert watch.problem == ""


def test_one_that_appears_later_is_taken_and_one_that_vanishes_is_kept(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = tmp_path / "place"
    watch = LibraryWatch(place)
    for _ in range(3):
        watch.look()
    assert (watch.finder, watch.reason) == (None, MISSING)
    assert str(place) in watch.problem
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    put(folder, place)
    watch.look()
    assert version(watch) == PhraseLibrary.open(folder).version
    shutil.rmtree(place)
    caplog.clear()
    for _ in range(3):
        watch.look()
    assert version(watch) == PhraseLibrary.open(folder).version
    assert len(caplog.records) == 1


@pytest.mark.parametrize("damage", ["cut off", "garbled manifest", "missing", "other encoder"])
def test_a_broken_one_is_told_once_and_the_older_one_stays(
    damage: str, folder: Path, libraries: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    watch = LibraryWatch(folder)
    watch.look()
    before = watch.finder
    put(libraries[1], folder)
    match damage:
        case "cut off":
            (folder / MOTION).write_bytes((folder / MOTION).read_bytes()[:-5])
        case "garbled manifest":
            (folder / NAME).write_text("{")
        case "missing":
            (folder / MOTION).unlink()
        case "other encoder":
            watch.expect(("minilm", 384))
    for _ in range(3):
        watch.look()
    assert watch.finder is before
    assert watch.problem
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    watch.expect(WORDS)
    put(libraries[1], folder)  # mended
    watch.look()
    assert version(watch) == PhraseLibrary.open(libraries[1]).version
    assert watch.problem == ""


def test_a_library_that_is_copied_in_slowly_is_taken_when_it_is_whole(
    libraries: tuple[Path, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "lib"
    folder.mkdir()
    watch = LibraryWatch(folder)
    for path in (libraries[0] / NAME, *(p for p in libraries[0].iterdir() if p.name != NAME)):
        watch.look()
        assert watch.finder is None
        shutil.copy(path, folder)
    assert watch.reason == BROKEN
    watch.look()
    assert version(watch) == PhraseLibrary.open(libraries[0]).version


def test_an_error_nobody_thought_of_is_survived(
    folder: Path, libraries: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = LibraryWatch(folder)
    watch.look()
    put(libraries[1], folder)
    with monkeypatch.context() as patch:
        patch.setattr("serving.stages.library_watch.PhraseLibrary.open", lambda *args: 1 / 0)
        watch.look()
    assert version(watch) == PhraseLibrary.open(libraries[0]).version
    assert "division" in watch.problem


def test_it_looks_by_itself_until_it_is_stopped(folder: Path, libraries: tuple[Path, Path]) -> None:
    async def run() -> None:
        watch = LibraryWatch(folder)
        watch.look()
        watch.start(0.001)
        watch.start(0.001)
        assert len(asyncio.all_tasks()) == 2
        put(libraries[1], folder)
        wanted = PhraseLibrary.open(libraries[1]).version
        async with asyncio.timeout(30):
            while version(watch) != wanted:
                await asyncio.sleep(0)
        watch.stop()
        watch.start(0.001)
        await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(run())


def test_a_named_library_must_be_usable(folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    watch = LibraryWatch(folder)
    watch.require()
    watch.require(WORDS)
    before = watch.finder
    assert before is not None
    watch.look()
    assert watch.finder is before
    with pytest.raises(InvalidInput, match="minilm") as caught:
        watch.require(("minilm", 384))
    assert caught.value.field == "phrases"
    (folder / NAME).write_text("{}")
    for path in (folder, tmp_path / "nowhere"):
        with pytest.raises(InvalidInput) as caught:
            LibraryWatch(path).require()
        assert caught.value.field == "phrases"
        assert isinstance(caught.value.__cause__, InvalidArtifact)
    assert not caplog.records


def test_a_cross_encoder_that_is_not_here_leaves_the_embedded_reranker_at_work(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    watch = LibraryWatch(folder, cross_encoder=str(tmp_path / "no weights"))
    watch.look()
    assert watch.finder is not None
    assert "reranked by the embedded scorer" in caplog.text
    request = PhraseRequest(Query(music=Music(120.0)))
    assert watch.finder.find([request]) == PhraseFinder(watch.finder.library).find([request])
