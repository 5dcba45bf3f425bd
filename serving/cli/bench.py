"""Starts benchmarks, which are modules that run in a process of their own, so that serving imports none of them."""

import ast
import importlib.util
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from choreo.errors import InvalidInput

PACKAGE = "bench"
STUDIES = "research"
"""Package of the one-off studies, which only a checkout of the sources has."""


def benchmarks() -> dict[str, str]:
    """Modules that define `main`, by the name that `choreo bench` knows them by."""
    root = _root()
    packages = (PACKAGE, STUDIES) if (root / "pyproject.toml").is_file() else (PACKAGE,)
    paths = sorted(path for package in packages for path in (root / package).glob("*.py") if _has_main(path))
    return {path.stem: f"{path.parent.name}.{path.stem}" for path in paths}


def run_benchmark(name: str, arguments: Sequence[str]) -> int:
    """Run one with its arguments on this process's standard streams.

    Returns:
        Its exit code; 128 + the signal's number if a signal ended it.

    Raises:
        InvalidInput: there is no such benchmark.
    """
    known = benchmarks()
    if name not in known:
        raise InvalidInput("name", f"must be one of {', '.join(known) or '(none installed)'}, got {name}")
    path = os.pathsep.join(filter(None, (str(_root()), os.environ.get("PYTHONPATH"))))
    command = [sys.executable, "-P", "-m", known[name], *arguments]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, check=False)
    return done.returncode if done.returncode >= 0 else 128 - done.returncode


def _root() -> Path:
    """The folder that the package of the benchmarks is in."""
    spec = importlib.util.find_spec(PACKAGE)
    folders = [] if spec is None else list(spec.submodule_search_locations or ())
    return Path(folders[0]).parent if folders else Path("nowhere")


def _has_main(path: Path) -> bool:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in tree.body)
