"""What is in the wheel and in the source distribution."""

import configparser
import tomllib
import zipfile
from email import message_from_string
from pathlib import Path

from wheels import build_wheel

PACKAGES = ("bench", "choreo", "export", "loadtest", "retrieval", "serving")
SHIPPED = ("weights", "recipes")


def contents(wheel: Path) -> dict[str, int]:
    """Files of a wheel and their checksums."""
    with zipfile.ZipFile(wheel) as file:
        return {entry.filename: entry.CRC for entry in file.infolist() if not entry.is_dir()}


def test_the_wheel_has_every_file_that_is_needed_and_no_other(wheel: Path, source: Path) -> None:
    expected = {
        file.relative_to(source).as_posix()
        for package in PACKAGES
        for pattern in ("*.py", "*.cpp", "*.h", "py.typed", "studio/*.*")
        for file in (source / package).rglob(pattern)
    }
    expected |= {
        f"choreo/_shipped/{file.relative_to(source).as_posix()}"
        for folder in SHIPPED
        for file in (source / folder).rglob("*")
        if file.is_file()
    }
    assert {name for name in contents(wheel) if ".dist-info/" not in name} == expected
    assert expected >= {
        "choreo/_shipped/recipes/cleared.yaml",
        "choreo/_shipped/weights/phrases/index.faiss",
        "choreo/_shipped/weights/unet-small/model.safetensors",
        "export/native/kernels/simd.h",
        "export/native/triton_backend.cpp",
        "export/python_backend.py",
    }


def test_metadata(wheel: Path, source: Path) -> None:
    project = tomllib.loads((source / "pyproject.toml").read_text())["project"]
    assert wheel.name == f"choreo-{project['version']}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as file:
        info = f"choreo-{project['version']}.dist-info"
        metadata = message_from_string(file.read(f"{info}/METADATA").decode())
        scripts = configparser.ConfigParser()
        scripts.read_string(file.read(f"{info}/entry_points.txt").decode())
        assert file.read(f"{info}/licenses/LICENSE") == (source / "LICENSE").read_bytes()
    assert (metadata["Name"], metadata["Version"]) == ("choreo", project["version"])
    assert set(metadata.get_all("Provides-Extra", ())) == set(project["optional-dependencies"])
    assert dict(scripts["console_scripts"]) == {"choreo": "serving.cli.main:main"}


def test_the_source_distribution_builds_the_same_wheel(
    wheel: Path, unpacked_sdist: Path, tmp_path: Path, source: Path
) -> None:
    assert contents(build_wheel(unpacked_sdist, tmp_path)) == contents(wheel)
    for file in ("tests/packaging/test_contents.py", "Makefile", "docs/architecture.md", "requirements/cpu.lock"):
        assert (unpacked_sdist / file).read_bytes() == (source / file).read_bytes()


def test_the_source_distribution_has_configurations_but_no_graphs(unpacked_sdist: Path, source: Path) -> None:
    assert (source / "model_repo" / "denoiser" / "1" / "model.onnx").is_file()
    files = {file.name for file in (unpacked_sdist / "model_repo").rglob("*") if file.is_file()}
    assert files == {"config.pbtxt", "model.py"}
