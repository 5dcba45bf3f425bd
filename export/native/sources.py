"""The files that compiled engines are made of."""

from pathlib import Path


def sources() -> list[Path]:
    """All files that a compiled engine depends on: a change in one of them makes existing engines obsolete."""
    here = Path(__file__).parent
    return sorted(file for kind in ("*.py", "*.cpp", "*.h") for file in here.rglob(kind))
