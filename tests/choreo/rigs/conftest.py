"""A dance that puts its feet on the floor."""

import pytest
from made_rigs import stepping

from choreo.motion.clip import Motion


@pytest.fixture(scope="session")
def dance() -> Motion:
    return stepping()
