"""The wheel at work: installed in an empty environment, run in a folder that has nothing to do with the checkout."""

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
from wheels import LinkedEnvironment

ROOT = Path(__file__).resolve().parents[2]
Environment = Callable[[tuple[str, ...]], LinkedEnvironment]

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def cpu(environment: Environment) -> Iterator[LinkedEnvironment]:
    """What `pip install 'choreo[cpu]'` gives; nothing may be written to it."""
    made = environment(("cpu",))
    before = installed_files(made)
    yield made
    assert installed_files(made) == before


@pytest.fixture(scope="module")
def repository(cpu: LinkedEnvironment) -> Path:
    """Where `choreo export` wrote the model repository."""
    done = cpu.run("choreo", "export", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["spec"] == "unet-small"
    assert not document["reused"]
    return Path(document["path"])


def installed_files(environment: LinkedEnvironment) -> set[Path]:
    packages = ("choreo", "serving", "retrieval", "export", "loadtest", "bench")
    files = {file for package in packages for file in (environment.site_packages / package).rglob("*")}
    return {file for file in files if "__pycache__" not in file.parts}


def test_nothing_is_imported_from_the_checkout(cpu: LinkedEnvironment) -> None:
    code = """
import bench, choreo, export, json, loadtest, retrieval, serving, sys
print(json.dumps([[m.__file__ for m in (bench, choreo, export, loadtest, retrieval, serving)], sys.path]))
"""
    done = cpu.run("python", "-c", code)
    assert done.returncode == 0, done.stderr
    files, path = json.loads(done.stdout)
    assert [file for file in files if not Path(file).is_relative_to(cpu.site_packages)] == []
    assert [folder for folder in path if Path(folder).is_relative_to(ROOT)] == []


def test_export_writes_to_the_users_cache(cpu: LinkedEnvironment, repository: Path) -> None:
    assert repository == cpu.home / "cache" / "choreo" / "model_repo"
    assert (repository / "unet-small.denoiser" / "1" / "model.onnx").is_file()
    assert (repository / "unet-small.denoiser" / "1" / "model.py").read_bytes() == (
        ROOT / "export/python_backend.py"
    ).read_bytes()


def test_doctor_names_what_the_wheel_has_and_lacks(cpu: LinkedEnvironment, repository: Path) -> None:
    done = cpu.run("choreo", "doctor", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    checks = {check["part"]: check for check in json.loads(done.stdout)}
    assert checks["checkpoint"]["state"].startswith(str(cpu.site_packages / "choreo/_shipped/weights/unet-small"))
    assert checks["phrase library"]["state"].startswith(str(cpu.site_packages / "choreo/_shipped/weights/phrases"))
    assert checks["model repository"]["state"].startswith(str(repository))
    assert not checks["ray"]["ok"]
    assert checks["ray"]["advice"] == "pip install 'choreo[serve]'"
    assert "choreo[serve]" in checks["Triton server"]["advice"]


def test_generate(cpu: LinkedEnvironment, repository: Path) -> None:
    done = cpu.run("choreo", "generate", "--text", "a slow waltz", "--preset", "draft", "--duration", "2", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["num_frames"] == 60
    assert document["prior"]["used"]
    with np.load(cpu.home / "out" / "motion.npz") as motion:
        assert motion["positions"].shape == (60, 22, 3)
    assert json.loads((cpu.home / "out" / "report.json").read_text())["model"] == "unet-small"


@pytest.mark.parametrize(
    ("extras", "command", "advised"),
    [
        ((), ("generate", "--text", "a"), "cpu"),
        ((), ("phrases", "search", "waltz"), "cpu"),
        (("cpu",), ("serve",), "serve"),
        (("cpu",), ("demo",), "serve"),
        (("cpu",), ("train", "cleared", "--out", "run"), "train"),
        (("cpu",), ("loadtest", "http://127.0.0.1:1"), "loadtest"),
    ],
)
def test_a_command_names_the_extra_that_it_lacks(
    extras: tuple[str, ...], command: tuple[str, ...], advised: str, environment: Environment
) -> None:
    done = environment(extras).run("choreo", *command)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("choreo: not installed: ")
    assert f"pip install 'choreo[{advised}]'" in line


def test_a_recipe_by_name_trains(environment: Environment) -> None:
    trainer = environment(("train",))
    done = trainer.run("choreo", "train", "cleared", "--smoke", "--out", "run", "--json")
    assert done.returncode == 0, done.stderr
    assert (trainer.home / json.loads(done.stdout)["checkpoint"] / "model.safetensors").is_file()


def test_serve_answers_and_leaves_nothing(environment: Environment, repository: Path) -> None:
    server, exported = environment(("cpu", "serve")), (repository / "unet-small.build.json").stat().st_mtime_ns
    process = server.start("choreo", "serve", "--port", "0")
    try:
        url = _url(process.stderr)
        answer = httpx.post(
            f"{url}/v1/generate", json={"text_prompt": "salsa dance", "duration": 2, "preset": "draft"}, timeout=120,
            trust_env=False,
        )  # fmt: skip
        assert answer.status_code == 200, answer.text
        assert answer.json()["num_frames"] == 60
        started = psutil.Process(process.pid).children(recursive=True)
        assert {"tritonserver", "raylet"} <= {child.name() for child in started}
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 0
    assert [child for child in started if child.is_running() and child.status() != psutil.STATUS_ZOMBIE] == []
    assert (repository / "unet-small.build.json").stat().st_mtime_ns == exported


def _url(lines: Iterator[str] | None) -> str:
    assert lines is not None
    seen = []
    for line in lines:
        seen.append(line)
        if line.startswith("serving on "):
            return line.split()[2]
    pytest.fail("the server has ended: " + "".join(seen)[-2000:])
