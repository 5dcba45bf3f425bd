"""Libraries on the command line: searched, danced from, and refused with one clear line."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from synthetic_phrases import dance
from tiny_text_encoders import save_tiny_clip

from choreo.music.synth import synthesize_song, write_wav
from choreo.text.encoders import text_encoder
from retrieval.building.build import build_library
from retrieval.library.embedding import Query
from retrieval.library.library import PhraseLibrary
from serving.cli.main import main


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    returncode: int
    stdout: str
    stderr: str


Choreo = Callable[..., Done]


@pytest.fixture
def choreo(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Choreo:
    """The command line, in this process: another one would load torch for every line."""

    def run(*args: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["choreo", *args])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        printed = capsys.readouterr()
        return Done(int(end.value.code or 0), printed.out, printed.err)

    return run


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few moves, for queries of the shipped model."""
    out = tmp_path_factory.mktemp("libraries") / "lib"
    moves = {"box": 90.0, "walk": 110.0, "kick": 120.0, "sway": 80.0, "turn": 120.0}
    build_library([dance(move, tempo) for move, tempo in moves.items()], out, text_encoder("minilm"))
    return out


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("songs") / "song.wav"
    samples, rate, _ = synthesize_song(120.0, 4.0)
    write_wav(path, samples, rate)
    return path


def test_search_by_prompt_and_song_in_json(choreo: Choreo, library: Path, song: Path) -> None:
    done = choreo(
        "phrases", "search", "a slow waltz", "--song", str(song), "--phrases", str(library), "--top-n", "4",
        "--max-tempo", "200", "--licence", "apache-2.0", "--variety", "0.2", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    opened = PhraseLibrary.open(library)
    assert document["library"]["version"] == opened.version
    assert document["query"]["tempo"] == pytest.approx(120, abs=3)
    assert [phrase["rank"] for phrase in document["phrases"]] == [1, 2, 3, 4]
    assert {phrase["id"] for phrase in document["phrases"]} <= {opened[i].id for i in range(len(opened))}


def test_a_library_is_searched_with_its_own_text_encoder(
    choreo: Choreo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_tiny_clip(tmp_path / "clip")
    monkeypatch.setenv("CHOREO_CLIP_WEIGHTS", str(tmp_path / "clip"))
    clip, library = text_encoder("clip"), tmp_path / "lib"
    build_library([dance(move, 120.0) for move in ("kick", "walk", "turn")], library, clip)
    opened = PhraseLibrary.open(library, ("clip", 768))
    words = opened[1].words
    done = choreo("phrases", "search", words, "--phrases", str(library), "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["library"]["text_encoder"] == "clip"
    best = opened.search(Query(text=clip.encode([words])[0]), 1)[0]
    assert {phrase["id"]: phrase["similarity"] for phrase in document["phrases"]}[best.phrase.id] == pytest.approx(
        best.similarity, abs=1e-3
    )
    # The shipped model has another encoder: it is not danced from, and the message says how to change that.
    done = choreo("generate", "--text", "a waltz", "--phrases", str(library), "--out", str(tmp_path / "out"))
    assert done.returncode == 2, done.stderr
    assert "choreo phrases build SOURCE --out LIBRARY --text-encoder minilm" in done.stderr


def test_search_for_people(choreo: Choreo, library: Path) -> None:
    done = choreo("phrases", "search", "a slow waltz", "--phrases", str(library), "--top-n", "2")
    assert done.returncode == 0, done.stderr
    assert PhraseLibrary.open(library).version[:12] in done.stdout
    assert "waltz" in done.stdout
    done = choreo("phrases", "search", "a slow waltz", "--phrases", str(library), "--genre", "polka")
    assert done.returncode == 0
    assert "no phrase passes the filter" in done.stdout


@pytest.mark.parametrize(
    ("args", "blamed"),
    [
        ([], "text_prompt"),
        (["a", "--top-n", "0"], "top_n"),
        (["a", "--top-n", "51"], "top_n"),
        (["a", "--min-tempo", "nan"], "phrase_min_tempo"),
        (["a", "--song", "/nowhere.wav"], "song"),
        (["a", "--phrases", "/nowhere"], "phrases"),
    ],
)
def test_bad_searches_are_one_line_and_exit_2(choreo: Choreo, args: list[str], blamed: str, library: Path) -> None:
    named = [] if "--phrases" in args else ["--phrases", str(library)]
    done = choreo("phrases", "search", *args, *named)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith(f"choreo: {blamed}:"), done.stderr


def test_a_dance_from_a_library_is_what_a_search_shows(
    choreo: Choreo, library: Path, song: Path, tmp_path: Path
) -> None:
    asked = ["--song", str(song), "--phrases", str(library)]
    done = choreo(
        "generate", "--text", "a slow waltz", *asked, "--steps", "2", "--out", str(tmp_path), "--format", "npz",
        "--phrase-max-tempo", "100", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["prior"]["used"]
    assert document["prior"]["library"] == PhraseLibrary.open(library).version[:12]
    done = choreo("phrases", "search", "a slow waltz", *asked, "--top-n", "3", "--max-tempo", "100", "--json")
    shown = {phrase["id"]: phrase["score"] for phrase in json.loads(done.stdout)["phrases"]}
    assert document["phrases"]
    assert all(shown[phrase["id"]] == phrase["score"] for phrase in document["phrases"])


def test_a_dance_that_finds_nothing_says_so(choreo: Choreo, library: Path, tmp_path: Path) -> None:
    done = choreo(
        "generate", "--text", "a slow waltz", "--phrases", str(library), "--steps", "1", "--out", str(tmp_path),
        "--format", "npz", "--phrase-genre", "polka", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["prior"]["used"], document["prior"]["reason"]) == (False, "no phrase passes the filter")
    assert document["phrases"] == []


@pytest.mark.parametrize("command", [("serve",), ("generate", "--text", "a")])
def test_a_named_library_that_cannot_be_used_ends_the_start(
    choreo: Choreo, command: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "manifest.json").write_text('{"format": "choreo-phrases", "version": 1}')
    done = choreo(*command, "--phrases", str(tmp_path))
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[0].startswith("choreo: phrases:"), done.stderr


def test_doctor_names_the_library(choreo: Choreo, library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHOREO_PHRASES", str(library))
    done = choreo("doctor", "--json")
    state = next(c["state"] for c in json.loads(done.stdout) if c["part"] == "phrase library")
    assert all(word in state for word in ("lib/", "5 phrases", "flat index", "minilm")), state
