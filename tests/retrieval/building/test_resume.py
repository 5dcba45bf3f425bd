"""Builds that are killed go on, builds that extend keep what is there, and two builds of one library do not meet."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from synthetic_phrases import WordEncoder, dance

from choreo.errors import InvalidArtifact, InvalidInput
from choreo.motion.formats.npz import write_npz
from retrieval.building.build import PhraseSource, Recording, build_library
from retrieval.building.build_folder import BuildFolder
from retrieval.building.cutting import Cutting
from retrieval.building.sources import open_sources
from retrieval.building.writer import LibraryWriter
from retrieval.indices.index import stored_vectors
from retrieval.library.embedding import Query
from retrieval.library.library import PhraseLibrary

MOVES = ("bounce", "kick", "turn", "sway")


class CountedLoads:
    """Recordings that count how often they are read."""

    def __init__(self) -> None:
        self.read: list[str] = []

    def recording(self, move: str, identity: str = "1") -> Recording:
        def load() -> PhraseSource:
            self.read.append(move)
            return dance(move)

        return Recording(move, f"{move} {identity}", load)

    def all(self) -> list[Recording]:
        return [self.recording(move) for move in MOVES]


def stop_after(count: int):
    """Progress that is interrupted as by Ctrl-C."""

    def progress(done: int, name: str) -> None:
        if done == count:
            raise KeyboardInterrupt

    return progress


def tree(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}


class TestResume:
    def test_an_interrupted_build_goes_on_and_gives_the_same_bytes(self, tmp_path: Path, words: WordEncoder) -> None:
        whole = build_library(CountedLoads().all(), tmp_path / "whole", words)
        with pytest.raises(KeyboardInterrupt):
            build_library(CountedLoads().all(), tmp_path / "lib", words, progress=stop_after(3))
        assert not (tmp_path / "lib").exists()
        again = CountedLoads()
        report = build_library(again.all(), tmp_path / "lib", words)
        assert again.read == ["sway"]
        assert (report.resumed, report.version) == (3, whole.version)
        assert tree(tmp_path / "lib") == tree(tmp_path / "whole")
        assert sorted(p.name for p in tmp_path.iterdir()) == ["lib", "whole"]

    def test_what_has_changed_is_done_again(self, tmp_path: Path, words: WordEncoder) -> None:
        def interrupted() -> None:
            with pytest.raises(KeyboardInterrupt):
                build_library(CountedLoads().all(), tmp_path / "lib", words, progress=stop_after(3))

        interrupted()
        again = CountedLoads()
        items = [again.recording("bounce", "2"), *again.all()[1:]]
        build_library(items, tmp_path / "lib", words)
        assert again.read == ["bounce", "sway"]
        interrupted()
        options = CountedLoads()
        build_library(options.all(), tmp_path / "lib", words, Cutting(boundaries="pauses"))
        assert options.read == list(MOVES)

    def test_a_damaged_entry_is_done_again(self, tmp_path: Path, words: WordEncoder) -> None:
        with pytest.raises(KeyboardInterrupt):
            build_library(CountedLoads().all(), tmp_path / "lib", words, progress=stop_after(4))
        first, second, *_ = sorted((tmp_path / ".lib.build" / "journal").iterdir())
        first.write_bytes(first.read_bytes()[:500])
        second.write_bytes(b"")
        again = CountedLoads()
        report = build_library(again.all(), tmp_path / "lib", words)
        assert (len(again.read), report.resumed, report.phrases) == (2, 2, 4)

    def test_recordings_that_failed_are_tried_again(self, tmp_path: Path, words: WordEncoder) -> None:
        def broken() -> PhraseSource:
            raise InvalidInput("motion", "is not there yet")

        items = [Recording("kick", "kick 1", broken), CountedLoads().recording("turn")]
        with pytest.raises(KeyboardInterrupt):
            build_library(items, tmp_path / "lib", words, progress=stop_after(2))
        again = CountedLoads()
        build_library([again.recording("kick"), again.recording("turn")], tmp_path / "lib", words)
        assert again.read == ["kick"]

    def test_a_build_that_was_killed_goes_on(self, tmp_path: Path) -> None:
        """SIGKILL in the middle of the third recording."""
        moves = tmp_path / "moves"
        moves.mkdir()
        for move in MOVES:
            write_npz(dance(move).motion, moves / f"{move}.npz")
        program = (
            "import os, signal, sys; from pathlib import Path\n"
            "from synthetic_phrases import WordEncoder; from retrieval.building.build import build_library\n"
            "from retrieval.building.sources import open_sources\n"
            "def progress(done, name):\n    if done == 2: os.kill(os.getpid(), signal.SIGKILL)\n"
            "build_library(open_sources(Path(sys.argv[1])).recordings, Path(sys.argv[2]), WordEncoder(),"
            " progress=progress)\n"
        )
        root = Path(__file__).resolve().parents[3]
        environment = os.environ | {"PYTHONPATH": f"{root}:{root / 'tests'}"}
        done = subprocess.run([sys.executable, "-c", program, moves, tmp_path / "lib"], env=environment, check=False)
        assert done.returncode == -signal.SIGKILL
        assert not (tmp_path / "lib").exists()
        report = build_library(open_sources(moves).recordings, tmp_path / "lib", WordEncoder())
        assert (report.resumed, report.phrases) == (2, 4)
        assert sorted(p.name for p in tmp_path.iterdir()) == ["lib", "moves"]

    def test_a_file_that_was_touched_is_read_again(self, tmp_path: Path, words: WordEncoder) -> None:
        moves = tmp_path / "moves"
        moves.mkdir()
        for move in MOVES:
            write_npz(dance(move).motion, moves / f"{move}.npz")
        with pytest.raises(KeyboardInterrupt):
            build_library(open_sources(moves).recordings, tmp_path / "lib", words, progress=stop_after(4))
        write_npz(dance("walk").motion, moves / "kick.npz")
        (moves / "turn.txt").write_text("a turn")
        report = build_library(open_sources(moves).recordings, tmp_path / "lib", words)
        assert report.resumed == 2
        library = PhraseLibrary.open(tmp_path / "lib")
        assert [library[i].caption for i in range(4)] == ["", "", "", "a turn"]


class TestAppend:
    def test_old_rows_stay_as_they_are(self, tmp_path: Path, words: WordEncoder) -> None:
        out = tmp_path / "lib"
        build_library([dance(move) for move in MOVES], out, words)
        before, vectors = PhraseLibrary.open(out), np.concatenate(list(stored_vectors(out / "index.faiss")))
        report = build_library([dance("kick"), dance("walk"), dance("twist")], out, words, append=True)
        after = PhraseLibrary.open(out)
        assert (report.added, report.phrases, len(after)) == (2, 6, 6)
        assert "equal phrase" in report.skipped[0].reason
        assert after.manifest.embedding == before.manifest.embedding
        assert after.version != before.version
        for i in range(4):
            assert after[i] == before[i]
            assert np.array_equal(after.motion(after[i]), before.motion(before[i]))
        assert [after[i].source for i in (4, 5)] == ["walk-120", "twist-120"]
        assert np.array_equal(np.concatenate(list(stored_vectors(out / "index.faiss")))[:4], vectors)
        assert after.search(Query(words.encode([after[4].words])[0]), 1)[0].phrase.id == after[4].id

    def test_nothing_new_changes_nothing(self, tmp_path: Path, words: WordEncoder) -> None:
        first = build_library([dance("kick")], tmp_path / "lib", words)
        before = tree(tmp_path / "lib")
        report = build_library([dance("kick")], tmp_path / "lib", words, append=True)
        assert (report.added, report.version) == (0, first.version)
        assert tree(tmp_path / "lib") == before
        assert [p.name for p in tmp_path.iterdir()] == ["lib"]

    def test_statistics_that_no_longer_fit_are_noted(self, tmp_path: Path, words: WordEncoder) -> None:
        build_library([dance("sway"), dance("sway", 100)], tmp_path / "lib", words)
        report = build_library([dance("jacks"), dance("kick")], tmp_path / "lib", words, append=True)
        assert "drifted" in report.notes[0].reason

    def test_another_encoder_or_no_library_is_an_error(self, tmp_path: Path, words: WordEncoder) -> None:
        class FakeEncoder(WordEncoder):
            name = "other"

        build_library([dance("kick")], tmp_path / "lib", words)
        before = tree(tmp_path / "lib")
        with pytest.raises(InvalidArtifact, match="text encoder"):
            build_library([dance("walk")], tmp_path / "lib", FakeEncoder(), append=True)
        with pytest.raises(InvalidArtifact, match="not a phrase library"):
            build_library([dance("walk")], tmp_path / "none", words, append=True)
        assert tree(tmp_path / "lib") == before
        assert [p.name for p in tmp_path.iterdir()] == ["lib"]

    def test_nothing_usable_leaves_the_library_alone(self, tmp_path: Path, words: WordEncoder) -> None:
        build_library([dance("kick")], tmp_path / "lib", words)
        before = tree(tmp_path / "lib")
        with pytest.raises(InvalidInput, match="no usable phrase"):
            build_library([], tmp_path / "lib", words, append=True)
        assert tree(tmp_path / "lib") == before


class TestLock:
    def test_the_second_builder_is_refused(self, tmp_path: Path, words: WordEncoder) -> None:
        with LibraryWriter(tmp_path / "lib"), pytest.raises(InvalidInput, match="another process"):
            build_library([dance()], tmp_path / "lib", words)
        assert build_library([dance()], tmp_path / "lib", words).phrases == 1

    def test_another_library_beside_it_may_be_built(self, tmp_path: Path, words: WordEncoder) -> None:
        with LibraryWriter(tmp_path / "lib"):
            assert build_library([dance()], tmp_path / "other", words).phrases == 1

    def test_a_lock_on_a_file_that_was_removed_keeps_nobody_out(self, tmp_path: Path) -> None:
        first = BuildFolder(tmp_path / "lib")
        first.close(keep_journal=True)
        assert list(tmp_path.iterdir()) == []
        second = BuildFolder(tmp_path / "lib")
        second.close(keep_journal=False)

    def test_what_a_killed_build_left_is_swept(self, tmp_path: Path, words: WordEncoder) -> None:
        left = tmp_path / ".lib.build"
        for name in ("part", "scratch"):
            (left / name).mkdir(parents=True)
            (left / name / "motion.npy").write_bytes(b"half")
        build_library([dance()], tmp_path / "lib", words)
        assert [p.name for p in tmp_path.iterdir()] == ["lib"]


def test_many_phrases_go_to_disk_in_groups_and_come_back_in_order(
    tmp_path: Path, library: PhraseLibrary, words: WordEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than two row groups, more phrases than the sample holds."""
    from dataclasses import replace

    from retrieval.building import table_stream, writer
    from retrieval.library.embedding import EmbeddingConfig
    from retrieval.library.phrases import describe

    monkeypatch.setattr(table_stream, "ROWS", 32)
    monkeypatch.setattr(writer, "SAMPLE", 20)
    phrase, rows = describe(library.motion(library[0])[:8])
    texts = np.random.default_rng(0).normal(size=(100, 48)).astype(np.float32)
    with LibraryWriter(tmp_path / "lib") as out:
        for i, text in enumerate(texts):
            rows[0, 0, 0] = i
            assert out.add(replace(phrase, id=f"{i * 7919 % 100:016x}", source=str(i)), rows, text)
        sample, sample_texts = out.sample
        assert sorted(int(p.id, 16) for p in sample) == list(range(20))
        assert np.array_equal(sample_texts, texts[[int(p.source) for p in sample]])
        config = EmbeddingConfig("words", 48).fitted(sample, sample_texts)
        out.commit(config)
    made = PhraseLibrary.open(tmp_path / "lib")
    assert [made[i].source for i in range(100)] == [str(i) for i in range(100)]
    assert made.motion(made[77])[0, 0, 0] == pytest.approx(0.077)
    vectors = np.concatenate(list(stored_vectors(tmp_path / "lib" / "index.faiss")))
    phrases = [made[i] for i in range(100)]
    assert np.allclose(vectors, made.embedder.phrases(phrases, texts), atol=1e-6)
