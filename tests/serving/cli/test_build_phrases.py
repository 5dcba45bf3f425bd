"""`choreo phrases build` as a user meets it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from tiny_text_encoders import save_tiny_clip

from choreo.data.synthetic.dances import synthesize_dance
from choreo.errors import InvalidArtifact, InvalidInput, MissingDependency
from choreo.motion.formats.npz import write_npz
from retrieval.library.library import PhraseLibrary
from retrieval.library.manifest import Manifest
from serving.cli.build_phrases import BuildOptions, build

CHOREO = [sys.executable, "-m", "serving.cli.main", "phrases", "build"]


def choreo(*args: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*CHOREO, *map(str, args)], capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture
def moves(tmp_path: Path) -> Path:
    folder = tmp_path / "moves"
    folder.mkdir()
    write_npz(synthesize_dance("kick", 120, 3.5)[0], folder / "kick.npz")
    (folder / "kick.txt").write_text("a dancer kicks")
    (folder / "broken.bvh").write_text("HIERARCHY")
    return folder


def test_a_folder_becomes_a_library_and_is_extended(tmp_path: Path, moves: Path) -> None:
    done = choreo(moves, "--out", tmp_path / "lib", "--licence", "cc0", "--genre", "charleston", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["phrases"] == document["added"] == 1
    assert [remark["source"] for remark in document["skipped"]] == ["broken.bvh"]
    assert "left out: broken.bvh" in done.stderr
    library = PhraseLibrary.open(tmp_path / "lib", ("minilm", 384))
    assert (library[0].caption, library[0].licence, library[0].genre) == ("a dancer kicks", "cc0", "charleston")
    write_npz(synthesize_dance("walk", 110, 3.5)[0], moves / "walk.npz")
    done = choreo(moves / "walk.npz", "--out", tmp_path / "lib", "--append")
    assert done.returncode == 0, done.stderr
    assert "2 phrases, 1 new" in done.stdout
    assert len(PhraseLibrary.open(tmp_path / "lib")) == 2


def test_a_library_keeps_the_text_encoder_it_was_built_with(
    tmp_path: Path, moves: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_tiny_clip(tmp_path / "clip")
    monkeypatch.setenv("CHOREO_CLIP_WEIGHTS", str(tmp_path / "clip"))
    out, quiet = tmp_path / "lib", Console(quiet=True)
    build(moves, out, BuildOptions(encoder="clip"), quiet)
    embedding = Manifest.read(out).embedding
    assert (embedding.text_encoder, embedding.text_dim) == ("clip", 768)
    write_npz(synthesize_dance("walk", 110, 3.5)[0], moves / "walk.npz")
    assert build(moves / "walk.npz", out, BuildOptions(append=True), quiet)["added"] == 1
    with pytest.raises(InvalidArtifact, match="built with the text encoder clip"):
        build(moves / "walk.npz", out, BuildOptions(append=True, encoder="minilm"), quiet)
    build(moves, out, BuildOptions(), quiet)
    assert Manifest.read(out).embedding.text_encoder == "minilm"
    monkeypatch.setenv("CHOREO_CLIP_WEIGHTS", str(tmp_path / "nowhere"))
    with pytest.raises(MissingDependency, match="CHOREO_CLIP_WEIGHTS"):
        build(moves, tmp_path / "other", BuildOptions(encoder="clip"), quiet)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("options", "blamed"),
    [
        ({"beats": "12"}, "beats"),
        ({"boundaries": "bars"}, "boundaries"),
        ({"licence": "x" * 100}, "licence"),
        ({"encoder": "bert"}, "text_encoder"),
        ({"index": "magic"}, "index"),
        ({"up": "sky"}, "up"),
    ],
)
def test_bad_options_are_refused_before_anything_is_read(
    tmp_path: Path, moves: Path, options: dict[str, str], blamed: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        build(moves, tmp_path / "lib", BuildOptions(**options), Console(quiet=True))
    assert caught.value.field == blamed
    assert [p.name for p in tmp_path.iterdir()] == ["moves"]


def test_nothing_usable_says_why_and_exits_with_2(tmp_path: Path, moves: Path) -> None:
    (moves / "kick.npz").unlink()
    done = choreo(moves, "--out", tmp_path / "lib")
    assert done.returncode == 2
    assert done.stdout == ""
    assert "no usable phrase" in done.stderr
    assert "broken.bvh" in done.stderr
    assert "Traceback" not in done.stderr
