"""`choreo compare`, with small networks."""

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from small_network import save_small
from typer.testing import CliRunner

from choreo.errors import ChoreoError, InvalidInput
from choreo.music.synth import synthesize_song, write_wav
from serving.cli.comparison import MAX_SONGS, compared
from serving.cli.main import app
from serving.settings import Settings

FIELDS: dict[str, Any] = {"duration": 2.0, "preset": "draft", "seed": 3}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two checkpoints of one name, and two songs of one name."""
    made = tmp_path_factory.mktemp("compare")
    save_small(made / "before")
    save_small(made / "after", seed=1)
    for place, tempo in (("x", 120.0), ("y", 96.0)):
        samples, rate, _ = synthesize_song(tempo, 4.0)
        (made / place).mkdir()
        write_wav(made / place / "song.wav", samples, rate)
    return made


def run(folder: Path, songs: list[Path], checkpoints: list[str], out: Path, **fields: Any) -> dict[str, Any]:
    settings = Settings(weights=folder / "before", model_repo=folder / "repository", threads=1)
    return compared(songs, checkpoints, FIELDS | fields, out, settings, Console(quiet=True))


def test_films_with_sound_sheets_and_figures(folder: Path, tmp_path: Path) -> None:
    songs = [folder / "x" / "song.wav", folder / "y" / "song.wav"]
    both = [str(folder / "before"), str(folder / "after")]
    document = run(folder, songs, both, tmp_path / "out")
    names = ["1-song.mp4", "1-song.png", "2-song.mp4", "2-song.png", "compare.json"]
    assert [Path(file).name for file in document["files"]] == names
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    assert b"mp4a" in (tmp_path / "out" / "1-song.mp4").read_bytes()
    assert json.loads((tmp_path / "out" / "compare.json").read_text()) == document
    assert document["checkpoints"] == dict(zip("AB", both, strict=True))
    jerks = document["figures"]["jerk_m_s3"]
    assert jerks["A"]["value"] != jerks["B"]["value"]
    assert jerks["A"]["n"] == 2


@pytest.mark.parametrize(
    ("changes", "blamed"),
    [
        ({"checkpoints": ["before"]}, "checkpoint"),
        ({"checkpoints": ["before"] * 3}, "checkpoint"),
        ({"checkpoints": ["before", "nowhere"]}, "model"),
        ({"songs": []}, "songs"),
        ({"songs": ["x/song.wav"] * (MAX_SONGS + 1)}, "songs"),
        ({"songs": ["nowhere.wav"]}, "song"),
        ({"preset": "none"}, "preset"),
        ({"duration": float("nan")}, "duration"),
    ],
)
def test_bad_input_is_refused_and_nothing_is_left(
    folder: Path, tmp_path: Path, changes: dict[str, Any], blamed: str
) -> None:
    songs = [folder / song for song in changes.pop("songs", ["x/song.wav"])]
    named = [str(folder / name) for name in changes.pop("checkpoints", ["before", "after"])]
    with pytest.raises(InvalidInput) as caught:
        run(folder, songs, named, tmp_path / "out", **changes)
    assert caught.value.field == blamed
    assert list(tmp_path.iterdir()) == []


def test_a_corrupt_song_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    song = tmp_path / "song.wav"
    song.write_bytes(b"RIFF" + bytes(100))
    with pytest.raises(ChoreoError):
        run(folder, [song], [str(folder / "before")] * 2, tmp_path / "out")
    assert list(tmp_path.iterdir()) == [song]


def test_the_command_names_what_it_needs() -> None:
    shown = CliRunner().invoke(app, ["compare", "--help"])
    assert shown.exit_code == 0
    assert "side by side" in shown.output
    assert f"up to {MAX_SONGS}" in " ".join(shown.output.replace("│", " ").split())
    assert CliRunner().invoke(app, ["compare", "song.wav", "--out", "x"]).exit_code == 2
