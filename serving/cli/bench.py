"""Starting benchmarks: modules of the `bench` package, each in a process of its own, so that serving imports none."""

import ast
import importlib.util
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from choreo.errors import InvalidInput

PACKAGE = "bench"


def benchmarks() -> list[str]:
    """Names of the modules that can be run: those that define `main`."""
    spec = importlib.util.find_spec(PACKAGE)
    folders = [] if spec is None else list(spec.submodule_search_locations or ())
    return sorted(path.stem for folder in folders for path in Path(folder).glob("*.py") if _has_main(path))


def run_benchmark(name: str, arguments: Sequence[str]) -> int:
    """Run one with its arguments on this process's standard streams.

    Returns:
        Its exit code; 128 and the signal's number where one ended it.
    Raises:
        InvalidInput: there is no such benchmark.
    """
    there = benchmarks()
    if name not in there:
        raise InvalidInput("name", f"must be one of {', '.join(there) or '(none installed)'}, got {name}")
    done = subprocess.run([sys.executable, "-P", "-m", f"{PACKAGE}.{name}", *arguments], check=False)
    return done.returncode if done.returncode >= 0 else 128 - done.returncode


def _has_main(path: Path) -> bool:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in tree.body)
