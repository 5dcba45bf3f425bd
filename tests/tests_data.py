"""Where the data pack is, for the tests that want real motion."""

import os
from pathlib import Path

import pytest

DEFAULT = Path(__file__).resolve().parent.parent.parent / "shared" / "data"


def data_pack() -> Path:
    """Folder of the data pack; skips the test, saying why, where it is absent."""
    root = Path(os.environ.get("CHOREO_DATA", DEFAULT))
    if not (root / "motion" / "cmu.npz").is_file():
        pytest.skip(f"the data pack is not at {root} (set CHOREO_DATA)")
    return root
