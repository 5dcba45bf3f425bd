"""A folder with a catalog, and workers that only write."""

from pathlib import Path

import pytest
from fake_workers import FakeWorkers, Place


@pytest.fixture
def workers() -> FakeWorkers:
    return FakeWorkers()


@pytest.fixture
def place(tmp_path: Path, workers: FakeWorkers) -> Place:
    return Place(tmp_path, workers)
