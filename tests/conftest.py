"""Settings that every test shares: no wall-clock limits on examples, one torch thread, no network look-ups."""

import os
from collections.abc import Iterator
from pathlib import Path

# Before torch is imported: OpenMP threads that spin at a barrier starve whatever shares the cores.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest
from hypothesis import settings
from logging_as_before import logging_as_before

settings.register_profile("choreo", deadline=None, max_examples=50)
settings.load_profile("choreo")


TESTS = Path(__file__).parent
SLOW = (
    "bench",
    "choreo/data/test_check_split.py",
    "choreo/evaluation/test_text_motion.py",
    "choreo/generators/unet/test_network.py",
    "choreo/motion/formats/test_in_blender.py",
    "choreo/motion/formats/test_in_viewers.py",
    "choreo/motion/formats/test_marks.py",
    "choreo/motion/formats/test_mp4.py",
    "choreo/music/test_isolated.py",
    "choreo/music/test_jukebox.py",
    "choreo/music/test_jukebox_process.py",
    "choreo/text/test_local_encoders.py",
    "choreo/training",
    "e2e",
    "examples",
    "export",
    "loadtest/test_command.py",
    "packaging",
    "research",
    "retrieval/building",
    "retrieval/search/test_cross_encoder.py",
    "serving/batch/test_full_disk.py",
    "serving/batch/test_worker.py",
    "serving/cli",
    "serving/evaluation",
    "serving/ray",
    "serving/sampling/test_transports.py",
    "serving/stages/test_large_jobs.py",
    "serving/studio",
    "serving/triton",
)
"""Folders and files whose tests compile, train, measure or start programs; `make fast` leaves them out."""


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """A command that runs in this process sets up its logs, which would hide those of later tests."""
    with logging_as_before():
        yield


def is_slow(path: Path) -> bool:
    """Whether all tests of a file or folder are slow."""
    return any(path.is_relative_to(TESTS / slow) for slow in SLOW)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Import no slow tests where none is to run: that alone takes seconds."""
    return True if "not slow" in config.option.markexpr and is_slow(collection_path) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark slow tests, and run what starts real servers last."""
    for item in items:
        if is_slow(item.path):
            item.add_marker(pytest.mark.slow)
    items.sort(key=lambda item: item.get_closest_marker("e2e") is not None)
