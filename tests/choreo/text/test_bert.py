"""BERT's encoder: equal to the published implementation, and its weights mapped from any safetensors file."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from choreo.errors import InvalidArtifact
from choreo.text.bert import Bert, mapped_weights
from choreo.text.minilm import MiniLmEncoder, _package_directory


def test_hidden_states_are_those_of_transformers(tmp_path: Path) -> None:
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    config = BertConfig(vocab_size=50, hidden_size=24, num_hidden_layers=3, num_attention_heads=4, intermediate_size=40)
    model = BertModel(config, add_pooling_layer=False).eval()
    weights = {name: 3 * tensor.detach().numpy() for name, tensor in model.state_dict().items()}
    model.load_state_dict({name: torch.from_numpy(weight) for name, weight in weights.items()})
    save_file({name: np.ascontiguousarray(weight) for name, weight in weights.items()}, tmp_path / "weights")
    tokens = np.random.default_rng(0).integers(0, 50, (5, 11))
    with torch.no_grad():
        expected = model(torch.from_numpy(tokens)).last_hidden_state.numpy()
    ours = Bert(mapped_weights(tmp_path / "weights"), heads=4).hidden(tokens)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, expected, atol=2e-5)


def test_minilm_is_that_of_sentence_transformers() -> None:
    from sentence_transformers import SentenceTransformer

    texts = [
        "x",
        "a dancer turns, then jumps",
        "ünïcode, 踊り 💃 [MASK]",
        "A person turns left. " * 90,
        " tabs\tand\nlines ",
    ]
    published = SentenceTransformer(str(_package_directory()), device="cpu", local_files_only=True)
    expected = published.encode(texts, normalize_embeddings=True, show_progress_bar=False)
    np.testing.assert_allclose(MiniLmEncoder().encode(texts), expected, atol=1e-6)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 8,
        (2).to_bytes(8, "little") + b"[]",
        (99).to_bytes(8, "little")
        + json.dumps({"w": {"dtype": "F32", "shape": [9], "data_offsets": [0, 36]}}).encode(),
    ],
    ids=["empty", "endless header", "no table", "cut"],
)
def test_a_broken_file_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "broken.safetensors"
    path.write_bytes(content)
    with pytest.raises(InvalidArtifact, match=r"broken\.safetensors"):
        mapped_weights(path)


def test_a_file_that_is_shorter_than_it_says(tmp_path: Path) -> None:
    save_file({"w": np.zeros((4, 4), np.float32)}, tmp_path / "weights")
    (tmp_path / "weights").write_bytes((tmp_path / "weights").read_bytes()[:-8])
    with pytest.raises(InvalidArtifact, match="complete"):
        mapped_weights(tmp_path / "weights")
