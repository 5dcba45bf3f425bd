import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from choreo.errors import InvalidArtifact, InvalidInput
from retrieval.building.writer import LibraryWriter
from retrieval.library.embedding import EmbeddingConfig, Music, Query
from retrieval.library.library import PhraseLibrary
from retrieval.library.manifest import FILES, INDEX, MOTION, NAME, TABLE, Manifest, entries
from retrieval.library.phrases import describe


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def resealed(path: Path) -> None:
    """Make the manifest agree with files that a test has changed."""
    replace(Manifest.read(path), files=entries(path)).write(path)


def edit(path: Path, **changes: object) -> None:
    values = json.loads((path / NAME).read_text())
    (path / NAME).write_text(json.dumps(values | changes))


def test_a_phrase_comes_back_with_its_motion(library: PhraseLibrary) -> None:
    assert len(library) == 6
    assert [library[i].source for i in range(2)] == ["bounce-100", "kick-120"]
    phrase = library[1]
    assert library.motion(phrase).shape == (phrase.num_frames, 22, 3)
    assert phrase.tempo == pytest.approx(120)
    assert len(phrase.beats) == 9
    assert phrase.licence == "apache-2.0"
    assert library.manifest.licences == {"apache-2.0": 6}


def test_motion_is_a_copy_that_nobody_else_sees(library: PhraseLibrary) -> None:
    library.motion(library[0])[:] = 7
    assert library.motion(library[0]).max() < 5


def test_a_phrase_finds_itself(library: PhraseLibrary, words) -> None:
    for i in range(len(library)):
        phrase = library[i]
        hit = library.search(Query(words.encode([phrase.words])[0], Music(phrase.tempo), phrase.stats), 1)[0]
        assert hit.phrase.id == phrase.id
        assert hit.score > 0.8


def test_any_subset_of_blocks_searches(library: PhraseLibrary, words) -> None:
    text = words.encode(["kicks"])[0]
    assert library.search(Query(text), 1)[0].phrase.source == "kick-120"
    assert library.search(Query(music=Music(180.0)), 1)[0].phrase.source == "sway-90"
    assert library.search(Query(stats=library[2].stats), 1)[0].phrase.source == "turn-120"


def test_hits_are_ranked_truncated_and_clipped_to_the_library(library: PhraseLibrary, words) -> None:
    query = Query(words.encode(["a dancer sways"])[0], Music(100.0))
    for k in (1, 3, 6, 1000):
        hits = library.search(query, k)
        assert len(hits) == min(k, 6)
        assert [h.rank for h in hits] == list(range(len(hits)))
        assert all(-1 <= h.score == h.similarity <= 1 for h in hits)
        assert [h.score for h in hits] == sorted((h.score for h in hits), reverse=True)


@pytest.mark.parametrize("query", [Query(), Query(np.zeros(48)), Query(music=Music(0.0))])
def test_a_query_that_says_nothing_finds_nothing(library: PhraseLibrary, query: Query) -> None:
    assert library.search(query, 5) == []


def test_many_queries_are_as_single_ones(library: PhraseLibrary, words) -> None:
    queries = [Query(words.encode([t])[0]) for t in ("kicks", "sways", "walks")] + [Query(), Query(music=Music(95.0))]
    assert library.search_many(queries, 3) == [library.search(query, 3) for query in queries]


@pytest.mark.parametrize("k", [0, -3])
def test_senseless_numbers_are_refused(library: PhraseLibrary, k: int) -> None:
    with pytest.raises(InvalidInput) as caught:
        library.search(Query(music=Music(120.0)), k)
    assert caught.value.field == "k"


def test_a_library_with_an_index_of_another_kind_must_be_built_again(copy: Path) -> None:
    index = json.loads((copy / NAME).read_text())["index"]
    edit(copy, index=index | {"kind": "hnsw"})
    with pytest.raises(InvalidArtifact, match=r"hnsw.*build the library again"):
        PhraseLibrary.open(copy)


def test_the_version_is_of_the_content(folder: Path, copy: Path) -> None:
    assert PhraseLibrary.open(folder).version == PhraseLibrary.open(copy).version


def test_another_encoder_is_found_out_when_opening(folder: Path) -> None:
    PhraseLibrary.open(folder, ("words", 48))
    with pytest.raises(InvalidArtifact, match="words"):
        PhraseLibrary.open(folder, ("minilm", 384))


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["missing", "short", "flipped"])
def test_damaged_files_are_found_out_when_opening(copy: Path, name: str, damage: str) -> None:
    path = copy / name
    data = bytearray(path.read_bytes())
    if damage == "missing":
        path.unlink()
    elif damage == "short":
        path.write_bytes(data[:-10])
    else:
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    with pytest.raises(InvalidArtifact, match=name):
        PhraseLibrary.open(copy)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("keep", [0, 11, 0.5])
def test_files_that_never_were_whole_are_found_out_too(copy: Path, name: str, keep: float) -> None:
    """As the manifest of a broken build would have it: sizes and hashes agree, the content does not."""
    data = (copy / name).read_bytes()
    (copy / name).write_bytes(data[: int(keep * len(data)) if keep == 0.5 else int(keep)])
    resealed(copy)
    with pytest.raises(InvalidArtifact, match=name):
        PhraseLibrary.open(copy)


@pytest.mark.parametrize(
    "changes",
    [{"version": 1}, {"format": "other"}, {"phrases": 5}, {"frames": 1}, {"files": {}}, {"embedding": {}}, {"fps": 20},
     {"index": {"kind": "hnsw"}}, {"index": None}, {"phrases": "many"}],
)  # fmt: skip
def test_a_manifest_of_another_version_or_making_is_refused(copy: Path, changes: dict) -> None:
    edit(copy, **changes)
    with pytest.raises(InvalidArtifact):
        PhraseLibrary.open(copy)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe"])
def test_a_manifest_that_is_no_json_object_is_refused(copy: Path, content: bytes) -> None:
    (copy / NAME).write_bytes(content)
    with pytest.raises(InvalidArtifact, match=NAME):
        PhraseLibrary.open(copy)


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArtifact, match="not a phrase library"):
        PhraseLibrary.open(tmp_path / "nowhere")


def test_files_of_different_libraries_do_not_go_together(copy: Path, library: PhraseLibrary, words) -> None:
    other = copy.parent / "other"
    with LibraryWriter(other) as writer:
        for i, text in enumerate(words.encode(["a", "b", "c"])):
            phrase, rows = describe(library.motion(library[i]), caption=str(i))
            writer.add(phrase, rows, text)
        writer.commit(EmbeddingConfig("words", 48).fitted(*writer.sample))
    for name in (INDEX, TABLE):
        before = (copy / name).read_bytes()
        shutil.copy(other / name, copy / name)
        resealed(copy)
        with pytest.raises(InvalidArtifact, match="disagree"):
            PhraseLibrary.open(copy)
        (copy / name).write_bytes(before)
    shutil.copy(other / MOTION, copy / MOTION)
    resealed(copy)
    with pytest.raises(InvalidArtifact, match=MOTION):
        PhraseLibrary.open(copy)


class TestWriter:
    def test_an_error_leaves_nothing_behind(self, tmp_path: Path) -> None:
        with pytest.raises(RuntimeError), LibraryWriter(tmp_path / "lib"):
            raise RuntimeError
        assert list(tmp_path.iterdir()) == []

    def test_nothing_to_write_is_an_error(self, tmp_path: Path) -> None:
        with LibraryWriter(tmp_path / "lib") as writer, pytest.raises(InvalidInput, match="no usable phrase"):
            writer.commit(EmbeddingConfig("words", 48))
        assert list(tmp_path.iterdir()) == []

    def test_an_older_library_is_replaced_and_its_readers_go_on(
        self, copy: Path, library: PhraseLibrary, words
    ) -> None:
        reader = PhraseLibrary.open(copy)
        with LibraryWriter(copy) as writer:
            (text,) = words.encode(["sways"])
            assert writer.add(*describe(library.motion(library[3])), text)
            assert not writer.add(*describe(library.motion(library[3])), text)
            writer.commit(EmbeddingConfig("words", 48).fitted(*writer.sample))
        assert len(PhraseLibrary.open(copy)) == 1
        assert np.array_equal(reader.motion(reader[5]), library.motion(library[5]))
        assert [p.name for p in copy.parent.iterdir()] == ["copy"]

    def test_something_else_is_never_overwritten(self, tmp_path: Path) -> None:
        (tmp_path / "thesis.txt").write_text("years of work")
        with pytest.raises(InvalidInput, match="not a phrase library"):
            LibraryWriter(tmp_path)
        with pytest.raises(InvalidInput, match="not a phrase library"):
            LibraryWriter(tmp_path / "thesis.txt")
        assert (tmp_path / "thesis.txt").read_text() == "years of work"

    def test_rows_must_be_those_of_the_phrase(self, tmp_path: Path, library: PhraseLibrary) -> None:
        phrase, rows = describe(library.motion(library[0]))
        with LibraryWriter(tmp_path / "lib") as writer, pytest.raises(InvalidInput, match="rows"):
            writer.add(phrase, rows[1:], np.zeros(48))
