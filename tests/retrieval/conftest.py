"""A small library made from synthetic dancing."""

from pathlib import Path

import pytest
from synthetic_phrases import WordEncoder, dance

from retrieval.building.build import build_library
from retrieval.library.library import PhraseLibrary


@pytest.fixture(scope="session")
def words() -> WordEncoder:
    return WordEncoder()


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory, words: WordEncoder) -> Path:
    """A library on disk; tests that change it must copy it first."""
    out = tmp_path_factory.mktemp("phrases") / "lib"
    tempos = {"bounce": 100.0, "kick": 120.0, "turn": 120.0, "sway": 90.0, "side_step": 130.0, "walk": 110.0}
    build_library([dance(move, tempo) for move, tempo in tempos.items()], out, words)
    return out


@pytest.fixture(scope="session")
def library(folder: Path) -> PhraseLibrary:
    return PhraseLibrary.open(folder)
