"""The command line as a user meets it: exit codes, one clear line on errors, JSON alone on standard output."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from choreo.music.synth import synthesize_song, write_wav
from export.build import build_repository
from serving.settings import Settings

CHOREO = [sys.executable, "-m", "serving.cli.main"]


def choreo(*args: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*CHOREO, *args], capture_output=True, text=True, timeout=timeout, check=False)


@pytest.fixture(scope="module", autouse=True)
def repository() -> None:
    """Built once here rather than inside whichever test comes first."""
    settings = Settings()
    build_repository(settings.weights, settings.model_repo)


@pytest.mark.parametrize(
    ("args", "blamed"),
    [
        ([], "text_prompt"),
        (["--text", "a", "--duration", "nan"], "duration"),
        (["--text", "a", "--duration", "-1"], "duration"),
        (["--text", "a", "--steps", "0"], "num_steps"),
        (["--text", "a", "--sampler", "x"], "sampler"),
        (["--text", "a", "--format", "fbx"], "format"),
        (["--song", "/nowhere.wav"], "song"),
        (["--text", "a", "--model", "none"], "model"),
        (["--text", "a", "--phrases", "/nowhere"], "phrases"),
        (["--text", "a", "--phrase-genre", "waltz,,"], "phrase_genre"),
        (["--text", "a", "--phrase-min-tempo", "nan"], "phrase_min_tempo"),
        (["--text", "a", "--phrase-variety", "2"], "phrase_variety"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(args: list[str], blamed: str, tmp_path: Path) -> None:
    done = choreo("generate", *args, "--out", str(tmp_path / "out"), "--json")
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert lines[-1].startswith(f"choreo: {blamed}:"), done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_corrupt_song_is_bad_input(tmp_path: Path) -> None:
    song = tmp_path / "song.wav"
    song.write_bytes(b"RIFF" + bytes(100))
    done = choreo("generate", "--song", str(song), "--out", str(tmp_path / "out"))
    assert done.returncode == 2
    assert "audio:" in done.stderr


def test_generate_with_song_and_prompt(tmp_path: Path) -> None:
    samples, rate, _ = synthesize_song(120.0, 4.0)
    write_wav(tmp_path / "f.wav", samples, rate)
    done = choreo(
        "generate", "--text", "salsa dance", "--song", str(tmp_path / "f.wav"), "--seed", "3", "--steps", "4",
        "--out", str(tmp_path / "d"), "--format", "npz", "--format", "json", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["num_frames"] == 120
    assert document["fps"] == 30
    assert document["seed"] == 3
    assert [Path(f).name for f in document["files"]] == ["motion.npz", "motion.json"]
    assert set(document["seconds"]) >= {"encode", "retrieve", "sample", "finish"}
    report = json.loads((tmp_path / "d" / "report.json").read_text())
    assert report["rows"]["denoiser"] == 8
    with np.load(tmp_path / "d" / "motion.npz") as motion:
        assert motion["positions"].shape == (120, 22, 3)
        assert json.loads(str(motion["meta"]))["prompt"] == "salsa dance"


def test_doctor_reports_json_and_help_exists_everywhere() -> None:
    done = choreo("doctor", "--json")
    assert done.returncode == 0, done.stdout
    parts = {check["part"]: check["ok"] for check in json.loads(done.stdout)}
    assert parts["Triton server"]
    assert parts["checkpoint"]
    for command in ("generate", "serve", "export", "train", "doctor", "demo"):
        assert choreo(command, "--help").returncode == 0
