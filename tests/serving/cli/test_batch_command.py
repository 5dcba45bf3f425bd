"""`choreo batch` with what it cannot use: one line that names line and field, exit code 2, and nothing started."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from http_thread import served
from typer.testing import CliRunner

from choreo.errors import InvalidInput
from serving.cli.main import app
from serving.http.ingress import create_app
from serving.settings import Settings

CHOREO = [sys.executable, "-m", "serving.cli.main", "batch"]
LOADED = """
import sys
from serving.cli.main import app
app(standalone_mode=False)
print(sorted({"faiss", "onnxruntime", "ray", "torch"} & sys.modules.keys()), file=sys.stderr)
"""
GOOD = '{"custom_id": "a", "body": {"text_prompt": "x"}}\n'


def batch(catalog: Path, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*CHOREO, str(catalog), *args], capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize(
    ("text", "args", "blamed"),
    [
        (GOOD + GOOD, [], "catalog line 2, custom_id"),
        (GOOD, ["--ray-address", "127.0.0.1:1"], "ray_address"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(text: str, args: list[str], blamed: str, tmp_path: Path) -> None:
    catalog = tmp_path / "c.jsonl"
    catalog.write_text(text)
    done = batch(catalog, "--out", str(tmp_path / "out"), "--json", *args)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert lines[-1].startswith(f"choreo: {blamed}:"), done.stderr
    assert "Traceback" not in done.stderr


def test_results_need_a_folder(tmp_path: Path) -> None:
    catalog = tmp_path / "c.jsonl"
    catalog.write_text(GOOD)
    done = batch(catalog, "--out", str(catalog))
    assert done.returncode == 2
    assert "choreo: out:" in done.stderr
    assert catalog.read_text() == GOOD


@pytest.mark.parametrize(
    ("option", "value", "field"),
    [
        ("--ray-address", "head:6379", "ray_address"),
        ("--triton-url", "triton:8001", "triton_url"),
        ("--model", "unet-small", "model"),
        ("--phrases", "phrases", "phrases"),
    ],
)
def test_what_a_server_has_is_refused_with_its_address(option: str, value: str, field: str, tmp_path: Path) -> None:
    catalog = tmp_path / "c.jsonl"
    catalog.write_text(GOOD)
    out = tmp_path / "out"
    done = CliRunner().invoke(app, ["batch", str(catalog), "--out", str(out), "--url", "http://a", option, value])
    assert isinstance(done.exception, InvalidInput)
    assert done.exception.field == field
    assert not out.exists()


def test_a_server_dances_without_torch_and_ray(stages: Any, tmp_path: Path) -> None:
    catalog = tmp_path / "c.jsonl"
    catalog.write_text(GOOD + '{"custom_id": "b", "body": {"text_prompt": "x", "num_steps": 0}}\n')
    words = ["batch", str(catalog), "--out", str(tmp_path / "out"), "--format", "npz", "--format", "bvh", "--json"]
    with served(create_app(Settings(), stages.stages())) as url:
        command = [sys.executable, "-c", LOADED, *words, "--url", url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "[]"
    summary = json.loads(done.stdout)
    assert (summary["state"], summary["succeeded"], summary["failed"]) == ("finished", 1, 1)
    assert {path.name for path in (tmp_path / "out" / "files" / "00000").iterdir()} == {"a.npz", "a.bvh"}
