"""Settings that every test shares: no wall-clock limits on examples, one torch thread, no network look-ups."""

import os

# Before torch is imported: OpenMP threads that spin at a barrier starve whatever shares the cores.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest
from hypothesis import settings

settings.register_profile("choreo", deadline=None, max_examples=50)
settings.load_profile("choreo")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Fast tests first: what starts real servers comes last."""
    items.sort(key=lambda item: item.get_closest_marker("e2e") is not None)
