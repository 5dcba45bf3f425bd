"""The small library of the retrieval tests, for benchmarks to be fitted to."""

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
    out = tmp_path_factory.mktemp("bench") / "lib"
    moves = ("bounce", "kick", "turn", "sway", "side_step", "walk")
    build_library([dance(move, 85.0 + 10 * i, seed=i) for i, move in enumerate(moves * 2)], out, words)
    return out


@pytest.fixture(scope="session")
def library(folder: Path) -> PhraseLibrary:
    return PhraseLibrary.open(folder)
