"""Ranges in the metadata, pins for development, the lock, and what is imported: they agree."""

import ast
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from serving.cli.extras import EXTRAS, Extra

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DECLARED: dict[str, list[str]] = {"base": PROJECT["dependencies"], **PROJECT["optional-dependencies"]}
PACKAGES = ("choreo", "retrieval", "export", "serving", "loadtest", "bench")
FROM_ELSEWHERE = {
    "bpy": "inside Blender",
    "bpy_extras": "inside Blender",
    "gevent": "locust's",
    "requests": "locust's",
    "triton_python_backend_utils": "inside Triton",
}


def requirements(lines: list[str]) -> dict[str, Requirement]:
    parsed = [Requirement(line) for line in lines if line.strip() and not line.startswith("#")]
    return {canonicalize_name(requirement.name): requirement for requirement in parsed}


def pins(name: str) -> dict[str, str]:
    lines = (ROOT / "requirements" / name).read_text().splitlines()
    return {package: str(found.specifier).removeprefix("==") for package, found in requirements(lines).items()}


@pytest.mark.parametrize("extra", DECLARED)
def test_every_range_holds_what_is_pinned(extra: str) -> None:
    ranges, pinned = requirements(DECLARED[extra]), pins(f"{extra}.txt")
    assert pinned.keys() == ranges.keys()
    assert [name for name, version in pinned.items() if version not in ranges[name].specifier] == []


@pytest.mark.parametrize("extra", [name for name in DECLARED if name != "gpu"])
def test_the_lock_has_what_is_pinned(extra: str) -> None:
    lock = pins("cpu.lock")
    assert {name: lock.get(name) for name in pins(f"{extra}.txt")} == pins(f"{extra}.txt")


@pytest.mark.parametrize("extra", EXTRAS)
def test_modules_that_a_command_asks_for_come_with_the_extra_it_names(extra: Extra) -> None:
    distributions = packages_distributions()
    declared = requirements(DECLARED[extra])
    for module in EXTRAS[extra]:
        assert {canonicalize_name(name) for name in distributions[module]} & declared.keys(), module


def test_every_import_is_declared() -> None:
    imported = {module for package in PACKAGES for file in (ROOT / package).rglob("*.py") for module in imports(file)}
    distributions = packages_distributions()
    declared = {name for extra in DECLARED for name in requirements(DECLARED[extra])}
    foreign = imported - sys.stdlib_module_names - {*PACKAGES} - FROM_ELSEWHERE.keys()
    assert "torch" in foreign
    assert {
        module
        for module in foreign
        if not {canonicalize_name(name) for name in distributions.get(module, ())} & declared
    } == set()


def imports(file: Path) -> set[str]:
    """Top-level names of the modules that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found
