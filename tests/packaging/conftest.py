"""The wheel and the source distribution, built once from a copy of the checkout."""

import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from wheels import LinkedEnvironment, build_wheel, create

ROOT = Path(__file__).resolve().parents[2]
EXPORTED = ("model_repo/build.json", "model_repo/denoiser/1/model.onnx", "model_repo/denoiser/1/native_loader.py")
NOT_SOURCE = (
    ".git", ".venv", "__pycache__", "*.egg-info", ".*_cache", ".hypothesis", "build", "dist", "out", "runs", "shared",
)  # fmt: skip


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout after an export, and after a build when it still had another module."""
    folder = tmp_path_factory.mktemp("source") / "choreo"

    def ignored(parent: str, names: list[str]) -> set[str]:
        # Packages may have the names of what is built at the top.
        patterns = NOT_SOURCE if Path(parent) == ROOT else ("__pycache__",)
        return shutil.ignore_patterns(*patterns)(parent, names)

    shutil.copytree(ROOT, folder, ignore=ignored)
    for file in (*EXPORTED, "build/lib/serving/removed.py"):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).touch()
    return folder


@pytest.fixture(scope="session")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the checkout."""
    return build_wheel(source, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def unpacked_sdist(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the source distribution unpacks to."""
    folder = tmp_path_factory.mktemp("sdist")
    code = f"from setuptools import build_meta; build_meta.build_sdist({str(folder)!r})"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=source, capture_output=True, timeout=300)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        file.extractall(folder, filter="data")
    return folder / archive.name.removesuffix(".tar.gz")


@pytest.fixture(scope="session")
def environment(
    wheel: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[tuple[str, ...]], LinkedEnvironment]:
    """An environment with the wheel and these extras; each is made once, and all are one user's."""
    home = tmp_path_factory.mktemp("home")
    made: dict[tuple[str, ...], LinkedEnvironment] = {}

    def with_extras(extras: tuple[str, ...]) -> LinkedEnvironment:
        if extras not in made:
            made[extras] = create(tmp_path_factory.mktemp("-".join(("environment", *extras))), home, wheel, extras)
        return made[extras]

    return with_extras
