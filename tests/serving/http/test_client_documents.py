"""What docs/client.md and examples/client.py show, run as it stands there against the real ingress."""

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from http_thread import served

from choreo.errors import InvalidInput
from choreo.motion.formats.npz import read_npz
from serving.http.ingress import create_app
from serving.pipeline.request import MotionRequest
from serving.settings import Settings

ROOT = Path(__file__).resolve().parents[3]
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "client.md").read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture
def url(stages: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a server, in a folder that has a song."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "song.mp3").write_bytes(b"ID3")
    with served(create_app(Settings(data_dir=tmp_path / "data"), stages.stages())) as url:
        monkeypatch.setenv("CHOREO_URL", url)
        yield url


def run(index: int, url: str) -> None:
    exec(compile(BLOCKS[index].replace("http://127.0.0.1:8000", url), "docs/client.md", "exec"), {"__name__": "docs"})


def test_the_first_dances(url: str, stages: Any, tmp_path: Path) -> None:
    run(0, url)
    assert (tmp_path / "dance.mp4").read_bytes() == b"film"
    assert {request.seed for request in stages.requests} == {read_npz(tmp_path / "dance.npz").meta["seed"]}
    assert (tmp_path / "dance.bvh").read_bytes().startswith(b"HIERARCHY")


def test_dances_at_the_same_time(url: str, tmp_path: Path) -> None:
    run(1, url)
    assert {path.name for path in tmp_path.glob("*.bvh")} == {
        "slow waltz.bvh",
        "salsa dance.bvh",
        "cha-cha with turns.bvh",
    }


def test_a_job(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(2, url)
    assert {path.suffix for path in (tmp_path / "dances").iterdir()} == {".bvh", ".npz", ".jsonl"}
    assert "succeeded 100%" in capsys.readouterr().out


def test_the_example(url: str, stages: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = importlib.util.spec_from_file_location("client_example", ROOT / "examples" / "client.py")
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    songs = tmp_path / "songs"
    songs.mkdir()
    (songs / "a.wav").write_bytes(b"RIFF")
    assert example.main([str(songs), str(tmp_path / "out")]) == 0
    assert example.main([str(songs), str(tmp_path / "out")]) == 0
    assert len(stages.requests) == 1
    (songs / "b.mp3").write_bytes(b"ID3")

    async def refuse(request: MotionRequest) -> None:
        raise InvalidInput("audio", "is no song")

    stages.action = refuse
    assert example.main([str(songs), str(tmp_path / "more")]) == 1
    assert "b.mp3: audio: is no song" in capsys.readouterr().err


def test_the_example_is_short() -> None:
    assert len((ROOT / "examples" / "client.py").read_text().splitlines()) <= 60
