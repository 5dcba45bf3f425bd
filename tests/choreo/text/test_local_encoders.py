"""CLIP and T5: tiny models with random weights go the whole way, and absent weights are said to be absent."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tiny_text_encoders import save_tiny_clip, save_tiny_t5

from choreo.errors import InvalidArtifact, MissingDependency
from choreo.text.clip import ClipTextEncoder
from choreo.text.encoders import text_encoder
from choreo.text.t5 import T5TextEncoder


def check_embeddings(encoder: ClipTextEncoder | T5TextEncoder) -> None:
    texts = ["a slow waltz", "climbing a ladder", "a " * 200] * 15
    rows = encoder.encode(texts)
    assert (rows.shape, rows.dtype) == ((45, 768), np.float32)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(rows[:3], rows[42:], atol=1e-5)
    assert np.abs(rows[0] - rows[1]).max() > 1e-3
    assert encoder.encode([]).shape == (0, 768)


def test_clip_loads_from_a_directory(tmp_path: Path) -> None:
    save_tiny_clip(tmp_path)
    check_embeddings(ClipTextEncoder(tmp_path))


def test_another_clip_is_refused(tmp_path: Path) -> None:
    save_tiny_clip(tmp_path, projection=512)
    with pytest.raises(InvalidArtifact, match="768"):
        ClipTextEncoder(tmp_path).encode(["a"])


def test_t5_loads_from_a_directory(tmp_path: Path) -> None:
    save_tiny_t5(tmp_path)
    check_embeddings(T5TextEncoder(tmp_path))


def test_another_sentence_encoder_is_refused(tmp_path: Path) -> None:
    save_tiny_t5(tmp_path, width=32)
    with pytest.raises(InvalidArtifact, match="768"):
        T5TextEncoder(tmp_path).encode(["a"])


@pytest.mark.parametrize(("name", "save"), [("clip", save_tiny_clip), ("t5", save_tiny_t5)])
def test_the_environment_names_the_folder(
    name: str, save: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path)
    monkeypatch.setenv(f"CHOREO_{name.upper()}_WEIGHTS", str(tmp_path))
    rows = text_encoder(name).encode(["a slow waltz", "words that are not in the vocabulary"])
    np.testing.assert_allclose(rows[:1], text_encoder(name, source=tmp_path).encode(["a slow waltz"]), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "repository"),
    [("clip", "openai/clip-vit-large-patch14"), ("t5", "sentence-transformers/sentence-t5-base")],
)
def test_absent_weights_are_said_to_be_absent(name: str, repository: str, tmp_path: Path) -> None:
    for source in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(MissingDependency, match=f"hf download {repository}") as caught:
            text_encoder(name, source=source).encode(["a slow waltz"])
        assert f"set CHOREO_{name.upper()}_WEIGHTS to the folder" in str(caught.value)
