"""`choreo generate --url` against a real server: files and report of the local command, errors by name."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from http_thread import served
from typer.testing import CliRunner

from choreo.errors import BackendUnavailable, InvalidInput
from choreo.motion.formats.formats import Format
from serving.cli.main import app
from serving.cli.report import file_names, report, write_files
from serving.http.ingress import create_app
from serving.pipeline.fields import parse_fields
from serving.pipeline.pipeline import Pipeline
from serving.pipeline.request import Attachments
from serving.pipeline.validation import validated_request
from serving.settings import Settings
from serving.versions import versions


@pytest.fixture
def url(stages: Any) -> Iterator[str]:
    with served(create_app(Settings(), stages.stages())) as url:
        yield url


def generate(*args: str) -> Result:
    return CliRunner().invoke(app, ["generate", *args])


def test_it_writes_and_reports_what_the_local_command_does(
    url: str, stages: Any, tmp_path: Path, standing: Any
) -> None:
    start = tmp_path / "start.npz"
    start.write_bytes(standing(3))
    words = ["--text", "a waltz", "--seed", "4", "--duration", "1.5", "--steps", "3", "--no-rag", "--json"]
    words += ["--start", str(start), "--up", "z"]
    formats = ["--format", "npz", "--format", "bvh", "--format", "json"]
    done = generate("--url", url, "--out", str(tmp_path / "remote"), *words, *formats)
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    fields = {"text_prompt": "a waltz", "seed": 4, "duration": 1.5, "num_steps": 3, "use_rag": False, "up": "z"}
    request = validated_request(parse_fields(fields), Attachments(start=start), Settings())
    result = asyncio.run(Pipeline(stages.stages()).run(request))
    names = file_names([Format.NPZ, Format.BVH, Format.JSON])
    (tmp_path / "local").mkdir()
    write_files(result.motion, tmp_path / "local", names, None, "a waltz")
    local = report(result, [tmp_path / "remote" / name for name in names])
    assert document.keys() == local.keys()
    assert {k: v for k, v in document.items() if k != "seconds"} == {k: v for k, v in local.items() if k != "seconds"}
    assert document["seconds"].keys() >= local["seconds"].keys() | {"request", "write"}
    for name in names:
        assert (tmp_path / "remote" / name).read_bytes() == (tmp_path / "local" / name).read_bytes()
    written = json.loads((tmp_path / "remote" / "report.json").read_text())
    assert written["rows"] == result.rows
    assert written["notes"] == ["start is turned: z is up, as was asked for"]
    assert written["meta"]["prompt"] == "a waltz"
    assert written["versions"] == versions()


def test_a_song_a_start_and_the_model_are_sent(url: str, stages: Any, tmp_path: Path, standing: Any) -> None:
    (tmp_path / "song.wav").write_bytes(b"RIFF")
    (tmp_path / "start.npz").write_bytes(standing(3))
    done = generate(
        "--url", url, "--song", str(tmp_path / "song.wav"), "--start", str(tmp_path / "start.npz"), "--model", "fake",
        "--timeout", "50", "--out", str(tmp_path / "out"),
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    (request,) = stages.requests
    assert (request.audio, request.start.num_frames, request.model) == (b"RIFF", 3, "fake")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"motion.npz", "motion.bvh", "report.json"}


@pytest.mark.parametrize(
    ("args", "field"),
    [
        (["--phrases", "lib"], "phrases"), (["--steps", "0"], "num_steps"), (["--model", "none"], "model"),
        (["--song", "/nowhere.wav"], "song"), (["--format", "usd"], "format"), (["--camera", "drone"], "camera"),
        (["--timeout", "0"], "timeout_s"), (["--start", "/nowhere.npz"], "start"), (["--up", "x y"], "up"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_and_nothing_is_written(url: str, tmp_path: Path, args: list[str], field: str) -> None:
    start = [] if "--start" in args or "--up" not in args else ["--start", "/nowhere.npz"]
    done = generate("--url", url, "--text", "waltz", "--out", str(tmp_path / "out"), *args, *start)
    assert isinstance(done.exception, InvalidInput)
    assert done.exception.field == field
    assert not (tmp_path / "out").exists()


def test_the_address_and_options_that_only_it_has(tmp_path: Path) -> None:
    done = generate("--text", "waltz", "--timeout", "5", "--out", str(tmp_path / "out"))
    assert isinstance(done.exception, InvalidInput)
    assert done.exception.field == "timeout"
    done = generate("--text", "waltz", "--url", "server:8000", "--out", str(tmp_path / "out"))
    assert isinstance(done.exception, InvalidInput)
    assert done.exception.field == "url"
    done = generate("--text", "waltz", "--url", "http://127.0.0.1:1", "--timeout", "1", "--out", str(tmp_path / "out"))
    assert isinstance(done.exception, BackendUnavailable)
    assert not (tmp_path / "out").exists()
